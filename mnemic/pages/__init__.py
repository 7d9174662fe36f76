"""Pages: the keys and values that a language model has of a text, kept so that it need not read the text again.

* ``datasets``  the dataset `pages`
* ``rounding``  numbers as whole steps of 4 or 8 bits, and back
* ``blob``      keys and values of all layers as bytes, and back
* ``page``      a row of `pages`, checked, as keys and values
* ``reading``   a model reads a text behind others, and is asked how it goes on
* ``checked``   whether a model's keys stand where they are put
* ``standing``  pages one behind the other, for the rows of a batch
* ``shelf``     the pages of a release, by event
* ``beginning`` the pages of a prompt's longest beginning
* ``retrieved`` which events prompts have retrieved
"""
