"""Documents as tokens, and the rows of the datastore as places in them: what a Memory Decoder reads and is asked.

The tokens are made again from the documents' text, exactly as the datastore made them, and every row's token must be
the one at its place. A decoder reads the datastore's windows, so each row is predicted from the same context as the
language model had; rows that a window only gives context for are another window's to score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mnemic.errors import StepError
from mnemic.languagemodel.head import confidences, label_log_probs
from mnemic.languagemodel.windows import Window, encode, window_batches, windows

if TYPE_CHECKING:
    from mnemic.memories.decoder import MemoryDecoder

_PASS_TOKENS = 4096


@dataclass(frozen=True)
class ScoredWindow:
    """A window of a document, and which rows it scores."""

    document: int
    part: Window
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """Token sequences of documents, and rows: the token at ``position`` of ``document`` (a place in ``tokens``)."""

    tokens: tuple[NDArray[np.int32], ...]
    document: NDArray[np.int64]  # [n]
    position: NDArray[np.int64]  # [n]

    @classmethod
    def from_arrow(cls, documents: pa.Table, rows: pa.Table, tokenizer: Any, limit: int) -> Texts:
        """Of ``documents`` (id, text) and ``rows`` (document, position, token) of a datastore.

        ``limit`` is the datastore's `max_document_tokens`. Raises `StepError` where a row's document is not there, or
        its token is not the one at its place.
        """
        names = rows["document"].combine_chunks()
        used = pc.index_in(names.unique(), value_set=documents["id"].combine_chunks())
        if used.null_count:
            raise StepError(
                f"{used.null_count} documents of the datastore are not among the documents; build the bank again."
            )
        texts = documents["text"].take(used).to_pylist()
        tokens, _ = encode(texts, tokenizer, limit)
        document = pc.index_in(names, value_set=names.unique()).to_numpy().astype(np.int64)
        sequences = cls(tuple(tokens), document, _integers(rows, "position"))
        beyond = sequences.position >= np.array([len(row) for row in tokens], np.int64)[document]
        token = _integers(rows, "token")
        wrong = np.flatnonzero(beyond | (np.where(beyond, -1, sequences._at(~beyond)) != token))
        if len(wrong):
            raise StepError(
                f"{len(wrong):,} rows of the datastore have other tokens than their documents, the first at position "
                f"{sequences.position[wrong[0]]} of {names[int(wrong[0])].as_py()}: the tokenizer or the text has "
                "changed. Build the datastore again with this language model."
            )
        return sequences

    def _at(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The token of each row, -1 where it is not ``chosen``."""
        first = np.concatenate([[0], np.cumsum([len(row) for row in self.tokens])]).astype(np.int64)
        flat = np.concatenate([*self.tokens, np.zeros(0, np.int32)]).astype(np.int64)
        token = np.full(len(self.position), -1, np.int64)
        token[chosen] = flat[first[self.document[chosen]] + self.position[chosen]]
        return token

    @cached_property
    def token(self) -> NDArray[np.int64]:
        """The token of each row, [n]."""
        return self._at(np.ones(len(self.position), bool))

    def pieces(self, window: int, stride: int) -> list[ScoredWindow]:
        """The windows that score a row, document by document; together they score each row once."""
        order = np.lexsort((self.position, self.document))
        bounds = np.searchsorted(self.document[order], np.arange(len(self.tokens) + 1))
        pieces = []
        for document, tokens in enumerate(self.tokens):
            rows = order[bounds[document] : bounds[document + 1]]
            for part in windows(len(tokens), window, stride):
                first, last = np.searchsorted(self.position[rows], (part.scored, part.end))
                if last > first:
                    pieces.append(ScoredWindow(document, part, rows[first:last]))
        return pieces

    def padded(self, pieces: list[ScoredWindow], shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids int64 [shape], padded on the right, and for each row of the pieces the flat place that predicts it.

        The places are int64 [rows], in the order of the pieces.
        """
        ids = np.zeros(shape, np.int64)
        read = []
        for line, piece in enumerate(pieces):
            part = piece.part
            ids[line, : part.end - part.begin] = self.tokens[piece.document][part.begin : part.end]
            read.append(line * shape[1] + self.position[piece.rows] - part.begin - 1)  # the token before predicts it
        return ids, np.concatenate(read)


def decoder_log_probs(
    memory: MemoryDecoder, texts: Texts, window: int, stride: int, device: str = "cpu", half: bool = False
) -> NDArray[np.float32]:
    """The natural-log probability that ``memory`` gives to each row's token; float32 [n], -inf where it has no such.

    ``window`` and ``stride`` are those that it was trained with (the ``config`` of its row in `memories`). Passes have
    constant shapes, so a row's value does not depend on which others are asked for. ``half`` computes in bfloat16.
    """
    return decoder_answers(memory, texts, window, stride, device, half)[:, 0]


def decoder_answers(
    memory: MemoryDecoder, texts: Texts, window: int, stride: int, device: str = "cpu", half: bool = False
) -> NDArray[np.float32]:
    """`decoder_log_probs`, and the largest log-probability and the entropy of what predicts each row: [n, 3]."""
    import torch

    answers = np.zeros((len(texts.position), 3), np.float32)
    token = torch.from_numpy(texts.token).to(device)
    memory.eval()
    with torch.inference_mode():
        place, is_known = memory.index(token)
        head = memory.head.weight.bfloat16() if half else memory.head.weight
        for shape, pieces in scoring_passes(texts, window, stride):
            ids, read = texts.padded(pieces, shape)
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
                state = memory.trunk(torch.from_numpy(ids).to(device))
            rows = np.concatenate([piece.rows for piece in pieces])
            at = torch.from_numpy(rows).to(device)
            hidden = state.flatten(0, 1)[torch.from_numpy(read).to(device)].to(head.dtype)
            logs = label_log_probs(hidden, head, place[at]).masked_fill(~is_known[at], -torch.inf)
            answers[rows] = torch.stack([logs, *confidences(hidden, head)], dim=1).cpu().numpy()
    return answers


def scoring_passes(
    texts: Texts, window: int, stride: int, batch_tokens: int = _PASS_TOKENS
) -> Iterator[tuple[tuple[int, int], list[ScoredWindow]]]:
    """The datastore's passes over the documents, with the pieces that score a row."""
    scoring = {(piece.document, piece.part.begin): piece for piece in texts.pieces(window, stride)}
    lengths = [len(tokens) for tokens in texts.tokens]
    for shape, members in window_batches(lengths, window, stride, batch_tokens):
        pieces = [scoring[key] for document, part in members if (key := (document, part.begin)) in scoring]
        if pieces:
            yield shape, pieces


def _integers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    return np.array(rows[name].to_numpy(), np.int64)
