"""Memories that were trained for one text and one model: rows of its cache, and vectors that rebuild the text.

* ``datasets``  `cartridges` and `memory_tokens`
* ``form``      keys and values of a cartridge as the bytes of one cell
* ``shelf``     the cartridges of a release, read when they are needed
* ``finding``   which texts with a latent serve a prompt
* ``rebuild``   a text from the vectors that were trained for it
"""
