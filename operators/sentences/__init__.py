"""Documents to sentences: the units that are embedded and grouped into events.

The rules are `mnemic.sentence_ranges`, a regular expression. One text is read by it, and a batch by the same rules
compiled (`operators.sentences.breaks`), at thirty times the pace.

* ``characters``  what the compiled rules know of every character
* ``breaks``      the rules over the characters of one text
* ``pieces``      the sentences of the texts of a batch, by either
* ``places``      from characters to bytes, and texts as ranges of bytes
* ``joining``     pieces that are too short or too many
* ``turns``       the turns of conversations
* ``operator``    the settings of the section `units`, and its rows
"""

from operators.sentences.operator import Sentences

__all__ = ["Sentences"]
