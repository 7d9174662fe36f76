"""Copies of a bank, or of one release of it: in another place, or in one file. Every byte is held against its hash.

* ``needed``    the files that releases need, with their sizes and hashes
* ``books``     the datasets that no release pins: made anew in a copy
* ``copying``   from one place to another
* ``archive``   the form of the file
* ``packing``, ``unpacking``  one release as one file, and back
"""

from mnemic.copies.copying import copy
from mnemic.copies.packing import pack
from mnemic.copies.unpacking import unpack

__all__ = ["copy", "pack", "unpack"]
