"""Quality as people name it: a linear model of hashed words, trained on texts that they call good and bad.

* ``features``  words and pairs of words as numbers
* ``linear``    training, scores, and how well they part held-out texts
* ``texts``     files of examples
* ``operator``  the settings
"""
