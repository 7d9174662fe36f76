"""Times that a text speaks of: found by rules, resolved against the time at which it was said.

* ``english``   the rules: expressions of English and the days that they mean
* ``moments``   expressions of a text, in order, each with its interval, precision and words
* ``dated``     a text with the resolved times written into it

"Yesterday" is a day only where somebody says when it was said: a text without a time of its own has no relative times,
and the clock of the machine is never asked.
"""

from mnemic.times.dated import dated
from mnemic.times.moments import PRECISIONS, Moment, day_in_words, moments

__all__ = ["PRECISIONS", "Moment", "dated", "day_in_words", "moments"]
