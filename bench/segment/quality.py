"""Agreement with people's boundaries: ours, libraries and baselines on the same texts, with the same vectors.

*Granular*: with the mean length of a segment, which is estimated on one half of a set and used on the other, both ways
round, so every text is tested once. *Default*: without any. Pk is averaged over the texts of a set, then over the
sets. Differences are bootstrapped over texts within each set (10,000 resamples; the references of one recording stay
together): the number that must be above 0 is the lower end of the 95 % interval of (the other one - ours).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.report import Row
from bench.segment.agreement import boundary_f1, density, pk, window_diff
from bench.segment.peers import Cuts, even_cuts, no_cuts, peers, random_cuts, run
from bench.segment.sets import LABELLED, STITCHED, Labelled, halves, read_set
from mnemic.encoder import TextEncoder
from operators.segment import Segment
from operators.segment.boundaries import Units, find_boundaries, weights_of

RESAMPLES = 10_000
DRAWS = 20
QUICK = {"tiage": 40, "qmsum": 8, "tinyrec": 10, **dict.fromkeys(STITCHED, 20)}


@dataclass(frozen=True)
class Encoded:
    text: Labelled
    vectors: npt.NDArray[np.float32]


@dataclass
class Score:
    """Agreement of one segmenter on the texts of one set."""

    pk: list[float] = field(default_factory=list)
    window_diff: list[float] = field(default_factory=list)
    f1: list[float] = field(default_factory=list)
    density: list[float] = field(default_factory=list)

    def add(self, cuts: Cuts, reference: Cuts) -> None:
        self.pk.append(100 * pk(cuts, reference))
        self.window_diff.append(100 * window_diff(cuts, reference))
        self.f1.append(100 * boundary_f1(cuts, reference, tolerance=1))
        self.density.append(density(cuts, reference))

    def __str__(self) -> str:
        means = [float(np.mean(values)) for values in (self.pk, self.window_diff, self.f1, self.density)]
        return "{:5.1f} {:5.1f} {:5.1f} {:5.2f}".format(*means)


Scores = dict[str, dict[str, Score]]
"""Segmenter -> set -> score."""


def encoded_sets(encoder: TextEncoder, quick: bool) -> dict[str, list[Encoded]]:
    """Every set with the vectors of its units, rounded as a bank keeps them."""
    sets = {}
    for name in (*LABELLED, *STITCHED):
        texts = read_set(name)[: QUICK[name] if quick else None]
        vectors = encoder.encode([unit for text in texts for unit in text.units]).astype(np.float16).astype(np.float32)
        bounds = np.cumsum([len(text.units) for text in texts])[:-1]
        sets[name] = [Encoded(*both) for both in zip(texts, np.split(vectors, bounds), strict=True)]
    return sets


def cut(text: Encoded, settings: Segment) -> Cuts:
    """Our cuts of a text, those of its events."""
    words = np.array([len(unit.split()) for unit in text.text.units], np.int64)
    ends = np.zeros(len(words) - 1, np.bool_)
    return find_boundaries(Units(text.vectors, weights_of(words), ends, {}), settings).cuts


def scored(sets: dict[str, list[Encoded]]) -> tuple[Scores, Scores]:
    """(with the mean length, without), each with its baselines."""
    granular: Scores = {}
    default: Scores = {}

    def note(scores: Scores, who: str, name: str, cuts: Cuts, text: Encoded) -> None:
        scores.setdefault(who, {}).setdefault(name, Score()).add(cuts, text.text.cuts)

    for name, texts in sets.items():
        by_name = {id(text.text): text for text in texts}
        parts = [[by_name[id(one)] for one in half] for half in halves([text.text for text in texts])]
        for learnt, tested in (parts, parts[::-1]):
            lengths = _mean_lengths(learnt)
            for text in tested:
                length = lengths[text.text.level]
                units, segments = text.text.units, max(1, round(len(text.vectors) / length))
                ours = cut(text, Segment(mean_units=length))
                note(granular, "ours", name, ours, text)
                for who, settings in _OTHERS.items():
                    note(granular, who, name, cut(text, settings(length, text.text.segments)), text)
                _baselines(granular, name, text, int(ours.sum()), note)
                note(granular, "even, mean length", name, even_cuts(units, segments - 1), text)
        for text in texts:
            note(default, "ours", name, cut(text, Segment()), text)
            for method in ("changepoint", "texttiling", "divisive"):
                note(default, f"{method}, default", name, cut(text, Segment(method=method)), text)
            _baselines(default, name, text, text.text.segments - 1, note)
    return granular, default


def _mean_lengths(texts: list[Encoded]) -> dict[str, float]:
    """Mean length of a segment, for each level of annotation."""
    lengths = {}
    for level in {text.text.level for text in texts}:
        here = [text for text in texts if text.text.level == level]
        lengths[level] = sum(len(text.vectors) for text in here) / sum(text.text.segments for text in here)
    return lengths


def add_peers(scores: Scores, sets: dict[str, list[Encoded]], encoder: TextEncoder) -> dict[str, float]:
    """Cut all texts with the libraries that are installed; words that each of them encodes per input word."""
    ratios, vectors = {}, dict[str, npt.NDArray[np.float32]]()

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        vectors.update(zip(new, encoder.encode(new), strict=True) if new else ())
        return np.array([vectors[text] for text in texts])

    for who, peer in peers().items():
        words = encoded = 0
        for name in LABELLED:
            once = {text.text.units: text for text in sets[name]}
            result = run(peer, list(once), encode)
            words, encoded = words + result.words, encoded + result.words_encoded
            cuts = dict(zip(once, result.cuts, strict=True))
            for text in sets[name]:
                scores.setdefault(who, {}).setdefault(name, Score()).add(cuts[text.text.units], text.text.cuts)
        ratios[who] = encoded / words
    return ratios


def _baselines(
    scores: Scores, name: str, text: Encoded, cuts: int, note: Callable[[Scores, str, str, Cuts, Encoded], None]
) -> None:
    units, reference = text.text.units, text.text.cuts
    note(scores, "none", name, no_cuts(units), text)
    note(scores, "even", name, even_cuts(units, cuts), text)
    draws = Score()
    for seed in range(DRAWS):
        draws.add(random_cuts(units, cuts, seed), reference)
    score = scores.setdefault("random", {}).setdefault(name, Score())
    for values, drawn in (
        (score.pk, draws.pk),
        (score.window_diff, draws.window_diff),
        (score.f1, draws.f1),
        (score.density, draws.density),
    ):
        values.append(float(np.mean(drawn)))


_OTHERS: dict[str, Callable[[float, int], Segment]] = {
    "changepoint, mean length": lambda length, segments: Segment(method="changepoint", mean_units=length),
    "divisive, mean length": lambda length, segments: Segment(method="divisive", mean_units=length),
    "texttiling, mean length": lambda length, segments: Segment(method="texttiling", mean_units=length),
    "changepoint, true count": lambda length, segments: Segment(method="changepoint", count=segments),
}


def table(scores: Scores, title: str) -> str:
    """Pk, WindowDiff, F1 within one gap, density; a line for each segmenter, best first."""
    names = [*LABELLED, *STITCHED]
    lines = [title, f"{'':26}{'mean Pk':>8}   " + "   ".join(f"{name:>23}" for name in names)]
    for who in sorted(scores, key=lambda who: mean_pk(scores, who)):
        cells = [f"{scores[who][name]!s:>23}" if name in scores[who] else " " * 23 for name in names]
        lines.append(f"{who:26}{mean_pk(scores, who):8.1f}   " + "   ".join(cells))
    return "\n".join(lines)


def mean_pk(scores: Scores, who: str) -> float:
    """Mean over the labelled sets of the mean over their texts, in per cent."""
    return float(np.mean([np.mean(scores[who][name].pk) for name in LABELLED]))


def margin(scores: Scores, other: str, groups: Mapping[str, Sequence[str]]) -> tuple[float, float, float]:
    """(mean, 2.5 %, 97.5 % point) of the other one's mean Pk - ours, resampling the texts of every set."""
    generator = np.random.default_rng(0)
    means, whole = np.zeros(RESAMPLES), 0.0
    for name in LABELLED:
        difference = np.array(scores[other][name].pk) - np.array(scores["ours"][name].pk)
        _, which = np.unique(np.array(groups[name]), return_inverse=True)
        sums = np.stack([np.bincount(which, difference), np.bincount(which).astype(float)], axis=1)
        drawn = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES) @ sums
        means += drawn[:, 0] / drawn[:, 1] / len(LABELLED)
        whole += float(difference.mean()) / len(LABELLED)
    low, high = np.percentile(means, [2.5, 97.5])
    return whole, float(low), float(high)


def quality_rows(sets: dict[str, list[Encoded]], granular: Scores, default: Scores, encoder: TextEncoder) -> list[Row]:
    """The rows of both settings of `scored`, libraries added; the tables are printed."""
    ratios = add_peers(default, sets, encoder)
    for who in ratios:
        granular[who] = {name: _in_halves(default[who][name], sets[name]) for name in LABELLED}
    print(table(granular, "\nWith the mean length; of each set Pk, WindowDiff, F1 within one gap, density"))
    print(table(default, "\nWithout the mean length"))
    in_order = {name: [text.text.name.partition("#")[0] for text in sets[name]] for name in LABELLED}
    halved = {name: _names_in_halves(sets[name]) for name in LABELLED}
    oracle = mean_pk(granular, "changepoint, true count")
    rows = [
        *_rows("pk_granular", granular, [*ratios, "none", "random", "even"], halved, oracle + 5),
        *_rows("pk_default", default, list(ratios), in_order, min(mean_pk(default, w) for w in _BLIND)),
        Row("pk_oracle_count", "Pk of least squares given the true number of segments", oracle, "%"),
    ]
    rows += [
        Row("encode_ratio_peer", "words encoded per input word", ratio, "", peer=who) for who, ratio in ratios.items()
    ]
    return rows


_BLIND = ("none", "random", "even")


def _rows(
    identity: str, scores: Scores, others: list[str], groups: Mapping[str, Sequence[str]], goal: float
) -> list[Row]:
    best = min(others or _BLIND, key=lambda who: mean_pk(scores, who))
    metric = f"mean Pk; best other: {best}, {mean_pk(scores, best):.1f}"
    rows = [Row(identity, metric, mean_pk(scores, "ours"), "%", mean_pk(scores, best), goal, False, best)]
    for who in dict.fromkeys([*others, *_BLIND]):
        mean, low, high = margin(scores, who, groups)
        must = 0.0 if who in others else None
        metric = f"lower end of 95 % of (its Pk - ours); mean {mean:.1f}, upper {high:.1f}"
        rows.append(Row(f"{identity}_margin", metric, low, "points", must, peer=who))
    for name in (*LABELLED, *STITCHED):
        score = scores["ours"][name]
        metric = f"Pk on {name}; WindowDiff {np.mean(score.window_diff):.1f}, density {np.mean(score.density):.2f}"
        rows.append(Row(f"{identity}_{name}", metric, float(np.mean(score.pk)), "%", higher_is_better=False))
    return rows


def _order_in_halves(texts: list[Encoded]) -> list[int]:
    place = {id(text.text): number for number, text in enumerate(texts)}
    first, second = halves([text.text for text in texts])
    return [place[id(text)] for text in [*second, *first]]  # learnt on the first is tested on the second


def _names_in_halves(texts: list[Encoded]) -> list[str]:
    return [texts[place].text.name.partition("#")[0] for place in _order_in_halves(texts)]


def _in_halves(score: Score, texts: list[Encoded]) -> Score:
    order = _order_in_halves(texts)
    return Score(
        *([values[place] for place in order] for values in (score.pk, score.window_diff, score.f1, score.density))
    )
