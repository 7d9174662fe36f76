"""Pages of events: a language model reads each, and says what it has of it.

* ``scores``    how much each token of a text is used: Memory^3, KVzip, random, the first and the last
* ``shrink``    the rows of a page that stay, and its bytes
* ``writing``   an event as pages, with the losses by which they are attached or not
* ``budget``    which events have pages, under a number of bytes
* ``settings``  the settings of the section `pages`, and ``operator`` the section
"""
