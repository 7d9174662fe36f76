"""Shipped rates: core seconds of the steps on the machine that they were measured on, and what they are multiplied by.

One core of an Intel Xeon with AMX, Python 3.11.7. A step costs its ``fixed`` seconds (loading a model of 150 million
parameters, importing torch), ``compiling`` where numba has not compiled its functions yet, and ``per`` for each of what
it works on, its ``measure``. Costs of a model grow with its parameters, so their measure is a token times a parameter.
A build on another machine corrects them for the next one (`pipelines.estimate.pace`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal[
    "bytes",
    "characters",
    "documents",
    "units",
    "events",
    "encoding",
    "reading",
    "scoring",
    "rescoring",
    "comparing",
    "training",
    "scored",
    "packs",
    "writing",
]
"""What a step's time grows with: see `pipelines.estimate.amounts.Amounts`."""


@dataclass(frozen=True)
class Rate:
    """``divided``: workers share the fragments; ``whole``: it always looks at all rows, however few are new.

    ``uncompiled``: what a step takes more for each as long as it compiles nothing, because it has little to do.
    """

    measure: Measure
    per: float
    fixed: float = 0.1
    compiling: float = 0.0
    divided: bool = True
    whole: bool = False
    uncompiled: float = 0.0

    def first(self, amount: float) -> float:
        """Seconds more of a step with nothing compiled yet."""
        return min(self.compiling, amount * self.uncompiled) if self.uncompiled else self.compiling


RATES: dict[str, Rate] = {
    "read": Rate("bytes", 2.0e-7, fixed=0.3),
    "signature": Rate("characters", 6.0e-7, fixed=0.5, compiling=4.0),
    "measure": Rate("characters", 1.2e-6, fixed=0.3),
    "contamination": Rate("characters", 1.0e-6, fixed=0.5, compiling=3.0),
    "language": Rate("documents", 2.0e-4, fixed=0.3),
    "pii": Rate("characters", 1.0e-6, fixed=0.3, compiling=6.0),
    "quality": Rate("characters", 2.0e-6, fixed=0.5, compiling=2.0),
    "curate": Rate("documents", 2.0e-5, fixed=0.2),
    "deduplicate": Rate("documents", 1.0e-4, fixed=0.5, compiling=13.0, whole=True),
    "edits": Rate("characters", 5.0e-7, fixed=0.2),
    "units": Rate("characters", 2.0e-8, fixed=0.3, compiling=8.0, uncompiled=1.2e-7),
    "context": Rate("units", 1.0e-5),
    "names": Rate("characters", 3.0e-7),
    "embed": Rate("encoding", 5.5e-12, fixed=5.0),
    "surprise": Rate("reading", 5.0e-12, fixed=4.0),
    "perplexity": Rate("reading", 5.0e-12, fixed=4.0),
    "segment": Rate("units", 1.6e-4, fixed=0.3, compiling=2.0),
    "times": Rate("characters", 5.0e-7),
    "packs": Rate("characters", 1.0e-7),
    "calls": Rate("writing", 1.3e-7, fixed=1.0, divided=False),
    "notes": Rate("packs", 0.01),
    "summaries": Rate("packs", 0.01),
    "excerpts": Rate("characters", 2.0e-6, fixed=0.3),
    "denoise": Rate("reading", 5.0e-12, fixed=4.0),
    "cluster": Rate("events", 8.0e-5, fixed=0.4, compiling=1.7, divided=False, whole=True),
    "node_excerpts": Rate("events", 1.0e-4, fixed=0.3, whole=True),
    "semantic": Rate("events", 1.0e-4, fixed=0.2, whole=True),
    "subset": Rate("events", 2.0e-5, fixed=0.2, whole=True),
    "split": Rate("documents", 2.0e-5, fixed=0.2, divided=False, whole=True),
    "contained": Rate("documents", 3.0e-5, fixed=0.2, compiling=0.7, whole=True),
    "tokens": Rate("characters", 2.0e-6, fixed=0.5),
    "suffixes": Rate("characters", 3.0e-7, fixed=0.2, compiling=0.9),
    "datastore": Rate("scoring", 4.4e-12, fixed=4.0),
    "neighbours": Rate("comparing", 1.0e-11, fixed=0.5),
    "teacher": Rate("scored", 4.0e-5, fixed=0.5, compiling=1.8, whole=True),
    "imitate": Rate("training", 2.3e-12, fixed=2.0, divided=False, whole=True),
    "control": Rate("training", 2.3e-12, fixed=2.0, divided=False, whole=True),
    "decode": Rate("training", 4.0e-12, fixed=2.0, divided=False, whole=True),
    "blocks": Rate("training", 4.0e-12, fixed=4.0, whole=True),
    "gate": Rate("rescoring", 4.4e-12, fixed=12.0, compiling=3.7, divided=False, whole=True),
    "release": Rate("events", 4.0e-5, fixed=1.0, divided=False, whole=True),
}
"""Step -> its rate. A step that is not here has none until it ran once in this bank, or on this machine."""

KERNELS: dict[str, str] = {
    "signature": "operators.deduplicate.minhash",
    "contamination": "operators.contamination.table",
    "pii": "operators.pii.finder",
    "quality": "operators.quality.features",
    "units": "operators.sentences.breaks",
    "deduplicate": "operators.deduplicate.judge",
    "segment": "operators.segment.posterior",
    "cluster": "operators.cluster.kmeans",
    "contained": "operators.deduplicate.shingle_sets",
    "suffixes": "mnemic.suffixes.construct",
    "teacher": "operators.teacher.distribution",
    "gate": "mnemic.suffixes.kernel",
}
"""Step that compiles -> a module of the functions. Deduplication compiles its judge when two documents are alike."""

WITHOUT_BFLOAT16 = 2.5
"""How many times as long a model takes on a processor without bfloat16 instructions, beside what the probe says of its
products in float32: 2.4 in `embed`, 2.3 in `datastore`, 2.1 in `imitate` of the demo, 3.0 in `embed` of demo-small.
"""

ON_A_GPU = 0.02
"""The share of a core's time that a model takes on a GPU."""

RAY_SECONDS = 9.0
"""Starting Ray and the first workers, whose Python, torch and Lance are loaded; two cores, nothing beside."""

MODELS = frozenset({"encoding", "reading", "scoring", "rescoring", "training"})
"""Measures of steps whose time is a model's."""


@dataclass(frozen=True)
class TextOfKind:
    """What a kind of source gives: ``characters`` of a byte, characters of a ``document`` (0: an item is one)."""

    characters: float = 0.5
    document: float = 0.0


KINDS: dict[str, TextOfKind] = {
    "folder": TextOfKind(0.95),
    "markdown": TextOfKind(0.95),
    "obsidian": TextOfKind(0.95),
    "notion": TextOfKind(0.8),
    "conversations": TextOfKind(0.6, 2500.0),
    "python-environment": TextOfKind(0.168, 350.0),
    "html": TextOfKind(0.2),
    "pdf": TextOfKind(0.05),
    "docx": TextOfKind(0.15),
    "odt": TextOfKind(0.15),
    "pptx": TextOfKind(0.02),
    "xlsx": TextOfKind(0.5),
    "epub": TextOfKind(0.5),
    "parquet": TextOfKind(2.0, 1500.0),
    "arrow": TextOfKind(0.9, 1500.0),
    "csv": TextOfKind(0.8, 500.0),
    "mail": TextOfKind(0.3, 2000.0),
    "maildir": TextOfKind(0.3),
    "warc": TextOfKind(0.4, 3000.0),
    "archive": TextOfKind(2.5, 3000.0),
    "code": TextOfKind(0.9, 1500.0),
}
"""Kind of source -> its text; another has half a character a byte, and a document an item."""

CHARACTERS_OF_A_UNIT = 90.0
UNITS_OF_AN_EVENT = 1.75
CHARACTERS_OF_A_TOKEN = 4.2
