"""The contracts for packages that add to mnemic: sources, operators with their sections, datasets, kinds of memory.

docs/extending.md shows one of each. A name is loaded from its own module when it is used, so that a package with a kind
of memory alone needs nothing of the pipeline.
"""

from mnemic.floors import lazily

_HOMES = {
    **dict.fromkeys(("Document", "Item", "FilePart", "Reject", "Source", "Turn"), "pipelines.sources"),
    "Records": "pipelines.sources.fields",
    **dict.fromkeys(("content", "decode_text", "read_bytes"), "pipelines.sources.text"),
    "Files": "pipelines.sources.files",
    **dict.fromkeys(
        (
            "NO_REJECTS",
            "REJECTED",
            "BatchFunction",
            "Corpus",
            "CorpusOperator",
            "Fitted",
            "Progress",
            "Resources",
            "RowOperator",
            "model_field",
            "refuse",
        ),
        "operators.contracts",
    ),
    **dict.fromkeys(
        ("Derive", "Driven", "Fit", "Grow", "Learn", "Section", "dtype_field", "shared_field"), "operators.sections"
    ),
    **dict.fromkeys(("DatasetSpec", "IndexPlan", "Parent"), "mnemic.catalogue"),
    **dict.fromkeys(("Kind", "Memory", "MemoryInfo", "Scored"), "mnemic.memories.kinds"),
    "HeldOutRows": "mnemic.memories.held_out",
    "TrainedKind": "mnemic.memories.trained",
    **dict.fromkeys(("Checkpoint", "Training"), "operators.train"),
    "KEPT": "mnemic.kept",
    "View": "mnemic.view",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazily(__name__, _HOMES)
