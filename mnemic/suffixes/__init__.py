"""The suffix index: where a sequence of tokens stands in a corpus, how often, and what follows it there.

A suffix array over the tokens (Manber and Myers 1993; over the text of a language model: infini-gram, arXiv
2401.17377), with the contexts read backwards: the places of a shard are ordered by the tokens before them, nearest
first. So one binary search finds the longest suffix of a context that stands in the corpus, and the places of every
shorter suffix are a wider range around it.

* ``construct``  the order of the places of some documents
* ``shard``      a run of documents with that order; a choice of its documents is a shard too
* ``kernel``     search, widening and continuations of one shard, compiled; ``plain`` computes the same with numpy alone
* ``index``      several shards that answer as one: matches, counts, continuations, places

A text's tokens and those of the index are of the same tokenizer. Documents are separated by a token that no context
contains, so nothing matches across two of them.
"""
