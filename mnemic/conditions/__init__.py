"""Conditions on rows: read, checked, and written anew; never pasted.

* ``values``   values as SQL: texts, numbers, times
* ``grammar``  the SQL that a condition may be written in, parsed into a tree by sqlglot
* ``terms``    the kinds that columns and values have, and how two of them are compared
* ``rewrite``  a tree checked against the columns, and written as SQL for Lance
* ``reading``  names and values, SQL, and lists of these, as one condition

A condition that a user writes may be hostile, and stands beside one that must hold, such as a tenant. So no text of a
user reaches Lance: what is parsed alone, as one expression that is true or false, is written again from its tree.
"""

from mnemic.conditions.reading import Conditions, Where, all_of

__all__ = ["Conditions", "Where", "all_of"]
