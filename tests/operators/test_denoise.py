"""The column `denoised`."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.errors import RecipeError, StepError
from operators.denoise import Denoise, PerplexityCompressor, denoise
from operators.reading.scoring import TextScorer

READING = {"window": 64, "stride": 32, "batch_tokens": 256}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def compressor(address: str) -> PerplexityCompressor:
    return PerplexityCompressor(TextScorer.load(address, "float32", "cpu", **READING))


def events(texts: list[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


WORDS = ["the", "fox", "Anna", "42", "not", "didn't", "NEVER", "known", "ünïcödé", "漢字", "🙂", "v2.1,", "no.", "--"]
GAPS = [" ", " ", " ", "  ", "\n", "\n\n", "\t"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30))
    return "".join(word + draw(st.sampled_from(GAPS)) for word in words)


@settings(max_examples=60)
@given(st.lists(texts() | st.text(max_size=40), max_size=4), st.sampled_from([0.01, 0.25, 0.5, 0.75, 0.9, 1.0]))
def test_the_share_asked_for_stays_in_order_and_unaltered(
    compressor: PerplexityCompressor, given_texts: list[str], rate: float
) -> None:
    shorter = denoise(given_texts, compressor, rate)
    assert len(shorter) == len(given_texts)
    for before, after in zip(given_texts, shorter, strict=True):
        words, remaining = before.split(), after.split()
        assert is_subsequence(remaining, words)
        assert after.count("\n") == before.count("\n")
        always = [word for word in words if re.search(r"\d|n't|\b(not|no|never)\b", word.lower())]
        assert is_subsequence(always, remaining)
        if rate == 1.0 or len(remaining) == len(words):
            assert after == before
        elif ":" not in before:  # a name and colon is no word
            assert len(remaining) == max(1, round(rate * len(words)), len(always))


def test_speakers_and_line_breaks_stay(compressor: PerplexityCompressor) -> None:
    text = "Ann Lee: the fox is the fox\n\nBo: well well well\n  indented words stay indented here"
    (short,) = denoise([text], compressor, 0.4)
    first, second, third, fourth = short.split("\n")
    assert first.startswith("Ann Lee:") and second == "" and third.startswith("Bo:")
    assert fourth == "" or fourth.startswith("  ")
    assert len(short.split()) == 3 + round(0.4 * 13)


def test_the_words_of_highest_information_stay(address: str, compressor: PerplexityCompressor) -> None:
    text = SENTENCES[0]
    model, tokenizer = languagemodel.load(address, "float32")
    encoded = tokenizer(text, return_offsets_mapping=True)
    ids = torch.tensor(encoded["input_ids"])
    with torch.inference_mode():
        surprisal = -model(input_ids=ids[None]).logits[0, :-1].log_softmax(1).gather(1, ids[1:, None])[:, 0].numpy()
    surprisal = np.concatenate([[surprisal.mean()], surprisal])
    information = np.zeros(len(text.split()))
    for (start, end), value in zip(encoded["offset_mapping"], surprisal, strict=True):
        information[len(text[:start].split()) - (start > 0 and not text[start:end].startswith(" "))] += value
    best = sorted(np.argsort(-information)[: round(0.5 * 13)])
    assert denoise([text], compressor, 0.5) == [" ".join(text.split()[word] for word in best)]


def test_texts_too_short_to_judge_come_back_unchanged(compressor: PerplexityCompressor) -> None:
    short = ["", " \n ", "x", "Bo: ", "word"]
    assert denoise(short, compressor, 0.1) == short


class FirstWords:
    """Another way to compress."""

    def compress(self, texts: Sequence[str], rate: float) -> list[str]:
        assert rate < 1 and all(text.strip() for text in texts)
        return [" ".join(text.split()[: round(len(text.split()) * rate)]) for text in texts]


def test_another_compressor_can_be_passed() -> None:
    assert denoise(["a b c d", "", "e f"], FirstWords(), 0.5) == ["a b", "", "e"]
    assert denoise(["a  b"], FirstWords(), 1.0) == ["a  b"]


def test_rows_get_the_same_text_in_any_batch(address: str, compressor: PerplexityCompressor) -> None:
    operator = Denoise(model=address, dtype="float32", rate=0.5, **READING)
    worker = operator.open("cpu")
    given_texts = [*SENTENCES, "", " ".join(SENTENCES)]
    rows, rejects = worker(events(given_texts))
    assert rows.schema == operator.output(rows.schema) and rejects.num_rows == 0
    assert rows.column("denoised").to_pylist() == denoise(given_texts, compressor, 0.5)
    for text, row in zip(given_texts, rows.to_pylist(), strict=True):
        assert worker(events([text]))[0].to_pylist() == [row]
    assert worker(events([]))[0].schema == rows.schema


def test_rows_that_hold_smaller_rows_are_null(address: str, compressor: PerplexityCompressor) -> None:
    worker = Denoise(model=address, dtype="float32", rate=0.5, **READING).open("cpu")
    batch = events(SENTENCES[:3]).append_column("leaf", pa.array([True, False, True]))
    first, third = denoise([SENTENCES[0], SENTENCES[2]], compressor, 0.5)
    assert worker(batch)[0].column("denoised").to_pylist() == [first, None, third]


def test_settings_that_cannot_work_are_sentences(compressor: PerplexityCompressor) -> None:
    for rate in (0.0, 1.5, float("nan")):
        with pytest.raises(RecipeError, match="give a rate above 0, at most 1"):
            Denoise(rate=rate)
        with pytest.raises(StepError, match="give a rate above 0, at most 1"):
            denoise(["a b"], compressor, rate)
    with pytest.raises(RecipeError, match="stride < window"):
        Denoise(window=8, stride=8)


@pytest.mark.slow
def test_the_packaged_model_keeps_names_and_numbers() -> None:
    text = (
        "Marie: I wanted to tell you that we are going to move to Reykjavik in the spring of 2027, because Sigurdur "
        "has been offered a position at the Hallgrimur clinic.\n"
        "Tom: Oh, that is such great news for the two of you! I did not know that he was looking for a new job."
    )
    rows, _ = Denoise(rate=0.5).open("cpu")(events([text]))
    (short,) = rows.column("denoised").to_pylist()
    assert {"Marie:", "Tom:", "Reykjavik", "2027,", "Sigurdur", "Hallgrimur", "not"} <= set(short.split())
    assert len(short.split()) == 2 + round(0.5 * (len(text.split()) - 2))
