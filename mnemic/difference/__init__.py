"""The difference of two releases, of one bank or of two: rows by their keys, documents by their places, settings.

* ``values``   which values of two arrays differ, exactly
* ``matching`` which rows of two sides have equal keys
* ``rows``     rows added, removed and changed of one dataset
* ``settings`` recipe and lineage, in words
* ``banks``    all of it, for two releases
"""

from mnemic.difference.banks import BankChanges, diff

__all__ = ["BankChanges", "diff"]
