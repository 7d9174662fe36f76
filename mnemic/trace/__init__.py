"""Where a text stands in a bank, word for word: spans of a text, and exact substrings, answered by the suffix index.

* ``pieces``     the bytes of each token, where a text is the bytes of its tokens
* ``spans``      maximal spans of a text that stand in the index, ending and beginning at whole words
* ``substring``  all places of a string of characters, however it is tokenized there
* ``results``    results, as people and programs read them
* ``places``     places in shards as places in documents
* ``tracer``     both, for one release of a bank, with the documents that have them

A model's answer, traced, is its attribution (OLMoTrace, arXiv 2504.07096).
"""

from mnemic.trace.results import Occurrence, Occurrences, Trace, TracedDocument, TracedSpan
from mnemic.trace.spans import LEAST, RARE
from mnemic.trace.tracer import AROUND, Tracer

__all__ = ["AROUND", "LEAST", "RARE", "Occurrence", "Occurrences", "Trace", "TracedDocument", "TracedSpan", "Tracer"]
