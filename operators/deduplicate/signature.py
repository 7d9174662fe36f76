"""The step that reads every text once: a hash of the whole, and a MinHash signature of its shingles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from mnemic.arrays import Hashes
from mnemic.vectors import column
from operators.contracts import NO_REJECTS, BatchFunction, Resources, refuse
from operators.deduplicate.shingles import VERSION, Shingler, buffers, slices
from operators.sections import Grow, Section

_HEXADECIMAL = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True)
class Signature:
    """Adds `normalised`, a hash that equal texts share, and `signature`, uint32[permutations], to documents.

    Reads `text`. Nothing is rejected. A document of fewer than ``ngram`` words has 0xFFFFFFFF throughout.
    ``permutations`` are the components of the sketch; 128 tell a similarity to within 0.035. Signatures of two schemes
    are never compared: the metadata of the column holds all fields and the version, and filters that were made of it
    name its ``scheme``.
    """

    permutations: int = 128
    ngram: int = 5
    unspaced: str = "characters"
    seed: int = 1
    version: ClassVar[int] = VERSION
    resources: ClassVar[Resources] = Resources()

    def __post_init__(self) -> None:
        problems = []
        if self.permutations < 1:
            problems.append(
                f"A signature needs permutations of at least 1, but they are {self.permutations}; "
                "leave them out of the recipe to get 128."
            )
        if not 0 <= self.seed < 2**32:
            problems.append(f"The seed of a signature is {self.seed}; give one between 0 and 4294967295.")
        refuse(problems)
        self.tokenizer  # noqa: B018  # which refuses what it cannot be

    @property
    def tokenizer(self) -> Shingler:
        return Shingler(self.ngram, self.unspaced)

    @property
    def scheme(self) -> str:
        """What the numbers of a signature are."""
        return f"fast similarity sketch of {self.permutations} components, seed {self.seed}, of {self.tokenizer.name}"

    def output(self, schema: pa.Schema) -> pa.Schema:
        return pa.schema(
            [
                pa.field("normalised", pa.string(), nullable=False),
                pa.field("signature", pa.list_(pa.uint32(), self.permutations), nullable=False),
            ]
        )

    def open(self, device: str) -> BatchFunction:
        added = self.output(pa.schema([]))

        def sign(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
            forms = [np.empty((0, 2), np.uint64)]
            signatures = [np.empty((0, self.permutations), np.uint32)]
            for texts in slices(batch.column("text")):
                form, signature = self.tokenizer.signatures(texts, self.permutations, self.seed)
                forms.append(form)
                signatures.append(signature)
            columns = [
                hexadecimal(np.concatenate(forms)),
                column(np.concatenate(signatures)),
            ]
            return pa.RecordBatch.from_arrays(columns, schema=added), NO_REJECTS

        return sign


SECTION = Section("signature", Signature, Grow("documents", columns=("id", "text"), after=("read",)), on=True)


def hexadecimal(forms: Hashes) -> pa.Array:
    """Hashes, uint64 [documents, 2], as strings of 32 hexadecimal characters."""
    data = forms.astype(">u8").view(np.uint8)
    digits = np.empty((len(forms), 32), np.uint8)
    digits[:, 0::2], digits[:, 1::2] = _HEXADECIMAL[data >> 4], _HEXADECIMAL[data & 15]
    offsets = np.arange(0, 32 * len(forms) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(forms), pa.py_buffer(offsets), pa.py_buffer(digits))


def from_hexadecimal(column: pa.Array) -> Hashes:
    """The numbers behind `hexadecimal`, uint64 (documents, 2)."""
    data, offsets = buffers(column)
    digits = data[offsets[0] : offsets[-1]].reshape(-1, 32)
    values = np.where(digits < 58, digits - 48, digits - 87).astype(np.uint8)
    return (values[:, 0::2] << 4 | values[:, 1::2]).view(">u8").astype(np.uint64)
