"""Texts whose boundaries are known: dialogues, meetings and recordings that people labelled, and texts stitched by us.

`bench.data` says where the files come from; nothing of them is part of mnemic. A reference is the set of gaps at which
annotators began a new topic:

* TIAGE (Xie et al., EMNLP 2021 Findings): chit-chat, about 15 turns, a topic in about 4; label 1 begins a topic.
* QMSum (Zhong et al., NAACL 2021): meetings of hundreds of turns, about 130 a topic; the starts of its topic spans.
* TinyRec (Gklezakos et al., arXiv 2407.12028): recordings, each with coarse and fine segments: two references.

``stitched`` texts have no annotator to disagree with; each is made of runs of other texts, one source a run:

* articles: runs of 3 to 11 sentences of WikiText, ten to a text (as Choi, NAACL 2000, made his of Brown);
* chapters: runs of 20 to 60 sentences of WikiText, four to eight to a text, so that long texts are stitched too;
* documentation: runs of 5 to 20 sentences of the topics of Python's language reference, four to eight to a text;
* dialogues: runs of 3 to 8 turns of TIAGE's training dialogues, three to six to a text (as DialSeg711 is made);
* conversations: runs of 4 to 12 turns of LoCoMo's sessions, three to eight to a text.

They keep a constant chosen on three labelled sets from fitting those alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics as REFERENCE

import numpy as np
import numpy.typing as npt

from bench import data
from operators.sentences import Sentences

NEEDED = ("tiage", "qmsum", "tinyrec", "wikitext-2", "locomo")
"""Names of the sets in `bench.data`."""

LABELLED = ("tiage", "qmsum", "tinyrec")
STITCHED = (
    "stitched-articles",
    "stitched-chapters",
    "stitched-documentation",
    "stitched-dialogues",
    "stitched-conversations",
)


@dataclass(frozen=True)
class Labelled:
    """A text in units, and where it changes topic: ``cuts`` is bool [units - 1]."""

    name: str
    units: tuple[str, ...]
    speakers: tuple[str, ...]
    cuts: npt.NDArray[np.bool_]

    @property
    def level(self) -> str:
        """Which of several annotations of one text this is: "coarse", "fine", or "" for the only one."""
        return self.name.partition("#")[2]

    @property
    def segments(self) -> int:
        return int(self.cuts.sum()) + 1


def read_set(name: str, part: str = "dev") -> list[Labelled]:
    """All texts of a set; ``part`` of TIAGE is "train" or "dev". Raises `bench.data.MissingData`."""
    readers = {
        "tiage": lambda: _tiage(data.path("tiage", f"tiage_{part}.json")),
        "qmsum": lambda: _qmsum(data.path("qmsum")),
        "tinyrec": lambda: _tinyrec(data.paths("tinyrec")),
        "stitched-articles": lambda: _stitched(_articles(data.path("wikitext-2")), 60, (10, 10), (3, 11), name),
        "stitched-chapters": lambda: _stitched(_articles(data.path("wikitext-2"), 60), 20, (4, 8), (20, 60), name),
        "stitched-documentation": lambda: _stitched(_documentation(), 40, (4, 8), (5, 20), name),
        "stitched-conversations": lambda: _stitched(_sessions(data.path("locomo")), 100, (3, 8), (4, 12), name),
        "stitched-dialogues": lambda: _stitched(
            [list(text.units) for text in _tiage(data.path("tiage", "tiage_train.json"))], 120, (3, 6), (3, 8), name
        ),
    }
    return list(readers[name]())


def halves(texts: list[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Every second text, and the others: to choose on, and to test on. References of one text stay together."""
    names = sorted({text.name.partition("#")[0] for text in texts})
    first = set(names[::2])
    return (
        [text for text in texts if text.name.partition("#")[0] in first],
        [text for text in texts if text.name.partition("#")[0] not in first],
    )


def _gaps(starts: set[int], count: int) -> npt.NDArray[np.bool_]:
    cuts = np.zeros(count - 1, bool)
    cuts[[start - 1 for start in starts if 0 < start < count]] = True
    return cuts


def _tiage(path: Path) -> Iterator[Labelled]:
    for name, turns in json.loads(path.read_text(encoding="utf-8")).items():
        starts = {place for place, (_, label) in enumerate(turns) if label == "1"}
        speakers = tuple("AB"[place % 2] for place in range(len(turns)))
        yield Labelled(f"{path.stem}/{name}", tuple(text for text, _ in turns), speakers, _gaps(starts, len(turns)))


def _qmsum(path: Path) -> Iterator[Labelled]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        meeting = json.loads(line)
        turns = meeting["meeting_transcripts"]
        spans = sorted(tuple(map(int, span)) for topic in meeting["topic_list"] for span in topic["relevant_text_span"])
        starts = {start for start, _ in spans[1:]}  # what comes before the first topic belongs to it
        yield Labelled(
            f"qmsum/{number:02}",
            tuple(turn["content"] for turn in turns),
            tuple(turn["speaker"] for turn in turns),
            _gaps(starts, len(turns)),
        )


def _tinyrec(files: list[Path]) -> Iterator[Labelled]:
    for path in sorted(file for file in files if file.stem.endswith("_anno")):
        name = path.stem.removesuffix("_anno")
        entries = json.loads(path.with_name(f"{name}.json").read_text(encoding="utf-8"))[name]["entries"]
        annotated = json.loads(path.read_text(encoding="utf-8"))[name]
        units = tuple(entry.get("doc") or entry["composite"] for entry in entries)
        speakers = tuple(entry["composite"].partition(":")[0] if entry.get("doc") else "" for entry in entries)
        for level in ("coarse", "fine"):
            starts = {int(segment[0]) for segment in annotated[level]}
            yield Labelled(f"tinyrec/{name}#{level}", units, speakers, _gaps(starts, len(units)))


_MARKS = re.compile(r" @(.)@ ")
_SPACED = re.compile(r" ([.,;:!?%)\]}'’]|n't|'s)")


def detokenised(line: str) -> str:
    """A line of WikiText without its marks and the spaces around its tokens, as far as these can be told."""
    return _SPACED.sub(r"\1", _MARKS.sub(r"\1", line.strip())).replace("( ", "(")


def _articles(path: Path, least: int = 11) -> list[list[str]]:
    """Sentences of the articles of WikiText that have ``least``, with its token spaces taken out."""
    articles: list[list[str]] = []
    sentences = Sentences(min_characters=20)
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r" = [^=].*[^=] = ", line):
            articles.append([])
        elif articles and not line.startswith(" =") and line.strip():
            text = detokenised(line)
            articles[-1] += [text[start:end] for start, end in sentences.ranges(text)]
    return [article for article in articles if len(article) >= least]


def _documentation() -> list[list[str]]:
    """Sentences of the topics of Python's language reference, each sentence in the first topic that has it."""
    sentences, seen, topics = Sentences(min_characters=20), set[str](), list[list[str]]()
    for name in sorted(REFERENCE):
        topics.append([])
        for paragraph in re.split(r"\n\s*\n", REFERENCE[name]):
            text = " ".join(paragraph.split())
            topics[-1] += [text[start:end] for start, end in sentences.ranges(text) if text[start:end] not in seen]
        seen.update(topics[-1])
    return [topic for topic in topics if len(topic) >= 20]


def _sessions(path: Path) -> list[list[str]]:
    """Turns of the sessions of LoCoMo's conversations, of at least twelve."""
    conversations = [one["conversation"] for one in json.loads(path.read_text(encoding="utf-8"))]
    sessions = [
        [turn["text"] for turn in conversation[name]]
        for conversation in conversations
        for name in sorted(conversation)
        if re.fullmatch(r"session_\d+", name)
    ]
    return [session for session in sessions if len(session) >= 12]


def _stitched(
    sources: list[list[str]], count: int, segments: tuple[int, int], lengths: tuple[int, int], name: str
) -> Iterator[Labelled]:
    generator = np.random.default_rng(20261121)
    for number in range(count):
        runs = int(generator.integers(segments[0], segments[1] + 1))
        units: list[str] = []
        starts = set()
        for source in generator.choice(len(sources), runs, replace=False).tolist():
            length = min(int(generator.integers(lengths[0], lengths[1] + 1)), len(sources[source]))
            at = int(generator.integers(0, len(sources[source]) - length + 1))
            starts.add(len(units))
            units += sources[source][at : at + length]
        yield Labelled(f"{name}/{number:03}", tuple(units), ("",) * len(units), _gaps(starts, len(units)))
