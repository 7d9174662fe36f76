"""From a text to the blocks that serve it: down the cluster tree, as the documents went that blocks were trained on."""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mnemic.blocks.layout import FALLBACK, GENERIC, above
from mnemic.descent import leaf_of
from mnemic.errors import QueryError
from mnemic.search.searcher import Searcher
from mnemic.sentence_ranges import sentence_ranges
from mnemic.terminal import one_line
from mnemic.view import View

CHARACTERS = 8192
"""Of a text that are read for its topic."""


class Routes:
    """The way from texts to leaves of the tree of ``view``."""

    def __init__(self, view: View) -> None:
        self._searcher = Searcher(view)

    @cached_property
    def paths(self) -> frozenset[str]:
        """Of all nodes of the tree."""
        return frozenset(self._searcher.tree.paths)

    def leaf(self, text: str) -> str:
        """The path of the leaf of ``text``, "" for a text without words.

        Its vector is the mean of those of its sentences, as that of a document is, of the first 8,192 characters.
        """
        text = text[:CHARACTERS]
        pieces = [text[start:end] for start, end in sentence_ranges(text)]
        if not any(map(str.isalnum, text)):
            return ""
        encoded = self._searcher.encoder.encode(pieces).mean(axis=0, dtype=np.float64)
        return self.leaf_of_vector(encoded / max(float(np.linalg.norm(encoded)), 1e-12))

    def leaf_of_vector(self, vector: npt.NDArray[np.floating]) -> str:
        """The path of the leaf of a ``vector`` [d], such as that of a session in `events`."""
        tree = self._searcher.tree
        return leaf_of(vector, tree.paths, tree.centroids, tree.children)

    def checked(self, path: str) -> str:
        """``path`` if the tree has it. Raises `QueryError` otherwise."""
        if path not in self.paths and path not in GENERIC:
            raise QueryError(
                f"The cluster tree has no node {one_line(path, 40)!r}; give a path of `clusters`, such as "
                f"{min(self.paths - {''}, default='3')!r}."
            )
        return path


def serving(leaf: str, paths: Container[str], blocked: Sequence[str] = ()) -> tuple[str, ...]:
    """The blocks among ``paths`` that serve a text of ``leaf``, coarse first: those of the nodes on its way.

    Where none has one, the fallback serves, if there is one. The nodes ``blocked`` and those below them have none, and
    a text that would have had one of those has no fallback either, which was trained on all topics.
    """
    if leaf in GENERIC:
        return (leaf,) if leaf in paths else ()
    way = above(leaf)
    blocks = tuple(path for path in way if path in paths)
    closed = closed_nodes(leaf, blocked)
    if closed:
        return tuple(path for path in blocks if path != closed[0] and not path.startswith(f"{closed[0]}."))
    return blocks or ((FALLBACK,) if FALLBACK in paths else ())


def closed_nodes(leaf: str, blocked: Sequence[str]) -> list[str]:
    """The nodes on the way to ``leaf`` that are ``blocked``, coarse first; none for a block of no node."""
    return [] if leaf in GENERIC else [path for path in above(leaf) if path in blocked]
