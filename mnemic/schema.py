"""The Arrow schemas of a bank's datasets: what one row is.

Base columns are written when a row is made. The columns that later steps add are declared by the operators that compute
them. Other facts of a dataset, for example its key, stand in `mnemic.catalogue`.
"""

from __future__ import annotations

import pyarrow as pa

FORMAT_VERSION = 1
"""Version of a bank's layout; a bank with a larger number is refused."""

TIME = pa.timestamp("us", tz="UTC")

TURN = pa.struct(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # character range in the document: text[start:end]
        pa.field("end", pa.int64(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("time", TIME),
    ]
)
"""A turn of a conversation."""

DOCUMENTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of source, locator, content
        pa.field("content", pa.string(), nullable=False),  # hash of the text
        pa.field("source", pa.string(), nullable=False),  # name of the source in the recipe
        pa.field("locator", pa.string(), nullable=False),  # where in the source, relative to its root
        pa.field("item", pa.string(), nullable=False),  # the manifest item that it came from
        pa.field("collection", pa.string(), nullable=False),  # package, top-level folder: what belongs together
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("time", TIME),  # only where the source itself states one
        pa.field("length", pa.int64(), nullable=False),  # characters
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("turns", pa.list_(TURN)),  # of a conversation, in order; null where the source has none
    ]
)

UNSAID = "unsaid"
"""Column of documents that are read with titles: the words of the title that the text does not have.

A search hears a title there. The words that the text has too it hears in the text: counted twice, they found fewer of
HotpotQA's passages, whose texts begin with their titles (80.0 for 82.0 % at 5).
"""

CONTAMINATION = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # character range in the document: text[start:end]
        pa.field("end", pa.int64(), nullable=False),
        pa.field("set", pa.string(), nullable=False),  # name of the evaluation set's file
        pa.field("question", pa.string(), nullable=False),  # its id there, or the number of its line
        pa.field("share", pa.float64(), nullable=False),  # of the question's n-grams that stand in the document
    ]
)
"""A span of a document that stands in a question of an evaluation set."""

UNITS = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),
        pa.field("ordinal", pa.int32(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # character range in the document: text[start:end]
        pa.field("end", pa.int64(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("time", TIME),
        pa.field("turn", pa.string(), nullable=False),  # id of the turn that it is of; "" where there are none
        pa.field("source", pa.string(), nullable=False),  # as its document has it, like the next three
        pa.field("collection", pa.string(), nullable=False),
        pa.field("tenant", pa.string(), nullable=False),
        pa.field("session", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
    ]
)

LEVELS = ("session", "event", "turn", "passage")
"""Levels of `events`, each inside the one before; turns are those of conversations."""


def events(dimension: int) -> pa.Schema:
    """Schema of `events` for unit vectors of ``dimension`` components."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("document", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),  # as its document has it, like the next three
            pa.field("collection", pa.string(), nullable=False),
            pa.field("tenant", pa.string(), nullable=False),
            pa.field("session", pa.string(), nullable=False),
            pa.field("level", pa.string(), nullable=False),  # session, event, turn, passage
            pa.field("leaf", pa.bool_(), nullable=False),  # holds no smaller rows; leaves tile a document
            pa.field("ordinal", pa.int32(), nullable=False),  # within its document and level
            pa.field("first_unit", pa.int32(), nullable=False),  # unit range: [first_unit, end_unit)
            pa.field("end_unit", pa.int32(), nullable=False),
            pa.field("start", pa.int64(), nullable=False),  # character range in the document
            pa.field("end", pa.int64(), nullable=False),
            pa.field("text", pa.large_string(), nullable=False),
            pa.field("words", pa.int32(), nullable=False),
            pa.field("cause", pa.string(), nullable=False),  # why it begins here: operators.segment.levels.CAUSES
            pa.field("score", pa.float32()),  # of the gap before it, by the method; null where there is none
            pa.field("threshold", pa.float32()),  # the score that a boundary had to exceed here
            pa.field("surprise", pa.float32()),  # mean surprisal of its units, in nats a token
            pa.field("start_time", TIME),
            pa.field("end_time", TIME),
            pa.field("speakers", pa.list_(pa.string()), nullable=False),
            pa.field("turns", pa.list_(pa.string()), nullable=False),  # ids of the turns in it, in order
            pa.field("previous", pa.string(), nullable=False),  # event ids; "" where there is none
            pa.field("next", pa.string(), nullable=False),
            pa.field("parent", pa.string(), nullable=False),
            pa.field("representatives", pa.list_(pa.int32()), nullable=False),  # its units nearest to its vector
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),  # normalised mean of unit vectors
        ]
    )


BANDS = pa.schema(
    [
        pa.field("source", pa.int32(), nullable=False),  # fragment of `documents`
        pa.field("key", pa.uint64(), nullable=False),  # ascending within a source
        pa.field("row", pa.uint64(), nullable=False),  # row id of the document
    ]
)

FILTERS = pa.schema(
    [
        pa.field("band", pa.int32(), nullable=False),  # 0 is the whole text
        pa.field("first", pa.uint64(), nullable=False),  # range of keys: [first, last]
        pa.field("last", pa.uint64(), nullable=False),
        pa.field("generation", pa.int32(), nullable=False),  # 0, and one more for every filter put beside
        pa.field("capacity", pa.int64(), nullable=False),  # distinct keys
        pa.field("held", pa.int64(), nullable=False),
        pa.field("error", pa.float64(), nullable=False),  # of one look-up, asked for
        pa.field("observed_error", pa.float64(), nullable=False),  # by how full it is
        pa.field("scheme", pa.string(), nullable=False),
        pa.field("bits", pa.large_binary(), nullable=False),
    ]
)

# Of a document's distinct pairs only the most similar are there, where it has many (operators.deduplicate.listing).
PAIRS = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),  # the worse-ranked of the two
        pa.field("other", pa.string(), nullable=False),  # the better-ranked of the two
        pa.field("similarity", pa.float64(), nullable=False),  # exact Jaccard; 1.0 for equal normalised text
        pa.field("bands", pa.int32(), nullable=False),  # LSH bands shared
        pa.field("verdict", pa.string(), nullable=False),  # "duplicate" or "distinct"
        pa.field("rule", pa.string(), nullable=False),  # "exact" or "jaccard"
    ]
)


def clusters(dimension: int) -> pa.Schema:
    """Schema of `clusters` for vectors of ``dimension`` components."""
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),  # "" is the root; "3.11" the eleventh child of the third
            pa.field("level", pa.int32(), nullable=False),
            pa.field("parent", pa.string(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),  # events assigned to the node or below it
            pa.field("radius", pa.float32(), nullable=False),  # root mean square distance of the fitted to the centroid
            pa.field("label", pa.string(), nullable=False),  # its most distinctive terms
            pa.field("examples", pa.list_(pa.string()), nullable=False),  # ids of the events nearest to the centroid
            pa.field("fitted", pa.int64(), nullable=False),  # events that were there when the tree was fitted
            pa.field("added", pa.int64(), nullable=False),  # events that came since
            pa.field("added_radius", pa.float32(), nullable=False),  # root mean square distance of those; 0 for none
            pa.field("centroid", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


def datastore(dimension: int, vocabulary: int) -> pa.Schema:
    """Schema of `datastore`: one row is a scored token.

    ``dimension`` is the language model's hidden width; tokens have two bytes where its ``vocabulary`` allows it.
    """
    token = pa.uint16() if vocabulary <= 1 << 16 else pa.uint32()
    return pa.schema(
        [
            pa.field("document", pa.string(), nullable=False),
            pa.field("position", pa.int32(), nullable=False),  # index of the scored token in its document's tokens
            pa.field("start", pa.int64(), nullable=False),  # its first character in the document
            pa.field("split", pa.string(), nullable=False),
            pa.field("token", token, nullable=False),  # the scored (next) token
            pa.field("base_logprob", pa.float32(), nullable=False),  # natural log, by the language model
            pa.field("key", pa.list_(pa.float16(), dimension), nullable=False),
            pa.field("input", pa.list_(pa.float16(), dimension), nullable=False),  # what the student reads
        ]
    )


def tokens(vocabulary: int) -> pa.Schema:
    """Schema of `tokens`: one row is a document, its tokens of two bytes where ``vocabulary`` leaves one number free.

    That number, the largest of the type, separates documents in `suffixes`.
    """
    token = pa.uint16() if vocabulary < 1 << 16 else pa.uint32()
    return pa.schema(
        [
            pa.field("document", pa.string(), nullable=False),
            pa.field("tenant", pa.string(), nullable=False),  # as its document has it
            pa.field("tokenizer", pa.string(), nullable=False),  # `mnemic.languagemodel.tokenizer_hash` of it
            pa.field("length", pa.int32(), nullable=False),  # tokens
            pa.field("tokens", pa.list_(token), nullable=False),
            pa.field("starts", pa.list_(pa.int32()), nullable=False),  # the first character of each in the document
        ]
    )


_AS_IT_IS = {"lance-encoding:compression": "none", "lance-encoding:structural-encoding": "fullzip"}
"""Of columns that are not compressed: it takes a tenth of the time of sorting, and would save a third of the bytes."""

SUFFIXES = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),  # hash of its tenant, tokenizer and documents
        pa.field("part", pa.int32(), nullable=False),  # of the shard, from 0 on
        pa.field("tenant", pa.string(), nullable=False),  # a shard has documents of one
        pa.field("tokenizer", pa.string(), nullable=False),  # as `tokens` has it
        pa.field("generation", pa.int32(), nullable=False),  # of the build that made the shard
        pa.field("width", pa.int32(), nullable=False),  # bytes of a token
        pa.field("size", pa.int64(), nullable=False),  # tokens of the whole shard, separators included
        pa.field("documents", pa.list_(pa.string()), nullable=False),  # those that begin in this part
        pa.field("offsets", pa.list_(pa.int64()), nullable=False),  # the token of the shard at which each begins
        # little-endian; the separator behind each document
        pa.field("tokens", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),
        # int32, little-endian: `mnemic.suffixes.shard`
        pa.field("places", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),
    ]
)


BLOCKS = pa.schema(
    [
        # of its node in `clusters`; "fallback", "control" and "model", a change of the model itself, are of none
        pa.field("path", pa.string(), nullable=False),
        pa.field("level", pa.int32(), nullable=False),  # of its node; 0 for none
        pa.field("rows", pa.int32(), nullable=False),  # added to each projection of each of its layers
        pa.field("layers", pa.list_(pa.int32()), nullable=False),  # of the model, from 0 on, ascending
        pa.field("width", pa.int32(), nullable=False),  # components of a row
        pa.field("type", pa.string(), nullable=False),  # "bfloat16", "float32", "int8"
        pa.field("tokens", pa.int64(), nullable=False),  # trained on in an epoch
        pa.field("steps", pa.int64(), nullable=False),  # of the optimiser that moved it
        pa.field("job", pa.string(), nullable=False),  # that trained it: the node of level 1 above it, or its own path
        pa.field("metrics", pa.string(), nullable=False),  # JSON: of that job
        pa.field("state", pa.string(), nullable=False),  # fingerprint and documents that the job was for
        pa.field("weights", pa.large_binary(), nullable=False, metadata=_AS_IT_IS),  # `mnemic.blocks.layout`
    ]
)
"""Feed-forward blocks: rows that widen the feed-forward layers of a language model for texts of a topic."""


def lists(dimension: int) -> pa.Schema:
    """Schema of `lists`: how the keys of the store were divided to be searched; no rows where each is compared.

    Centroids are in the coordinates of `mnemic.neighbours.codes`, as `mnemic.neighbours.layout.Layout` has them.
    """
    return pa.schema(
        [
            pa.field("list", pa.int32(), nullable=False),  # its number, from 0 on
            pa.field("rows", pa.int64(), nullable=False),  # keys of the store in it
            pa.field("centroid", pa.list_(pa.float32(), dimension), nullable=False),
        ]
    )


MEMORIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # "mlp", "decoder": the modules of mnemic.memories
        pa.field("record", pa.string(), nullable=False),  # JSON: record of the step that trained it
        pa.field("state", pa.string(), nullable=False),  # fingerprint and corpus digest that it was trained for
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("final", pa.bool_(), nullable=False),  # false: a checkpoint of an unfinished training
        pa.field("config", pa.string(), nullable=False),  # JSON
        pa.field("lock", pa.string(), nullable=False),  # JSON: the model that it belongs to
        pa.field("metrics", pa.string(), nullable=False),  # JSON
        pa.field("weights", pa.large_binary(), nullable=False),  # safetensors
    ]
)

METRICS = pa.schema(
    [
        pa.field("memory", pa.string(), nullable=False),  # its name in `memories`
        pa.field("state", pa.string(), nullable=False),  # as there
        pa.field("epoch", pa.int32(), nullable=False),  # from 1
        pa.field("step", pa.int64(), nullable=False),  # of the optimiser, from 1, counted over all epochs
        pa.field("rows", pa.int64(), nullable=False),  # training rows seen so far
        pa.field("metric", pa.string(), nullable=False),  # mean since the point before; validation at an epoch's end
        pa.field("value", pa.float64(), nullable=False),
    ]
)
"""The curves of trainings, some twenty points of each metric in an epoch."""

GATES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),  # of the memories that were weighed together: "mlp+suffix"
        pa.field("memories", pa.string(), nullable=False),  # JSON: name -> id in `memories`
        pa.field("components", pa.string(), nullable=False),  # JSON: of the mixture, the model first
        pa.field("weights", pa.string(), nullable=False),  # JSON: the best fixed weights, of all but the model
        pa.field("gate", pa.string(), nullable=False),  # JSON of mnemic.memories.gate; "": fixed weights are as good
        pa.field("metrics", pa.string(), nullable=False),  # JSON: perplexities of both in cross-validation, and sizes
        pa.field("record", pa.string(), nullable=False),  # JSON: record of the step that trained it
        pa.field("state", pa.string(), nullable=False),  # fingerprint, rows and memories that it was trained for
    ]
)

REJECTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # hash of step, input and reason
        pa.field("step", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),  # manifest item or row id that was being processed
        pa.field("locator", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        # "reject"; "empty": nothing to take; "note": taken in part; "nothing": asked, and rightly nothing made of it
        pa.field("severity", pa.string(), nullable=False),
        pa.field("whole", pa.bool_(), nullable=False),  # nothing of the input was taken: it is done with
        pa.field("run", pa.string(), nullable=False),
    ]
)

REMOVALS = pa.schema(
    [
        pa.field("document", pa.string(), nullable=False),  # id of the document that was removed
        pa.field("mark", pa.string(), nullable=False),  # hash of source, locator, content: it is not read again
        pa.field("item", pa.string(), nullable=False),  # the manifest item that it came from
        pa.field("removal", pa.string(), nullable=False),  # name of the removal: the run that made it
        pa.field("time", TIME, nullable=False),
        pa.field("erased", pa.bool_(), nullable=False),  # also out of older releases and of the files
        pa.field("readmitted", pa.bool_(), nullable=False),  # the next build reads it again
        pa.field("rows", pa.int64(), nullable=False),  # scored tokens that it had in the store
        pa.field("memories", pa.list_(pa.string()), nullable=False),  # ids of the memories that were trained on them
    ]
)
"""Only in banks from which something was removed."""

RUNS = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("started", TIME, nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),  # rows written
        pa.field("rejects", pa.int64(), nullable=False),
        pa.field("record", pa.string(), nullable=False),  # JSON: versions, threads, code revision
    ]
)

INTENTS = ("rollback", "compact", "remove")
"""Steps of `runs` that are commands: a row when one begins, and one when it has ended."""

RELEASES = pa.schema(
    [
        pa.field("release", pa.string(), nullable=False),
        pa.field("created", TIME, nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("versions", pa.string(), nullable=False),  # JSON: dataset -> version
        pa.field("counts", pa.string(), nullable=False),  # JSON: dataset -> rows
        pa.field("recipe", pa.string(), nullable=False),  # JSON
        pa.field("lineage", pa.string(), nullable=False),  # JSON: step -> record
    ]
)

CHECKSUMS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # of the file, below the bank
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("hash", pa.string(), nullable=False),  # blake2b of its bytes, 32 hexadecimal characters
        pa.field("release", pa.string(), nullable=False),  # the release at which it was written down
    ]
)
"""What the files of a bank were at the releases; `mnemic verify` compares."""

LEASES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("holder", pa.string(), nullable=False),
        pa.field("host", pa.string(), nullable=False),
        pa.field("pid", pa.int64(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("heartbeat", pa.float64(), nullable=False),  # seconds since the epoch; asked only whether it changed
        pa.field("number", pa.int64(), nullable=False),  # of the claim; one more at each
        pa.field("unfenced", pa.bool_(), nullable=False),  # whether a former holder may be alive and commit
        pa.field("uptime", pa.float64(), nullable=False),  # of the heartbeat, in seconds since the holder's host booted
    ]
)
