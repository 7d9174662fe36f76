"""Tracing and exact search in a bank, against its documents' texts."""

import json
import random

import pytest

from mnemic import languagemodel
from mnemic.command import main
from mnemic.errors import BankError, ModelError, QueryError
from mnemic.kept import KEPT
from mnemic.suffixes.stored import index_of
from mnemic.trace import tracer


@pytest.fixture(scope="module")
def bank(tiny_full):
    return tiny_full.open()


@pytest.fixture(scope="module")
def texts(bank):
    rows = bank.dataset("documents").table(["id", "text", "collection"], KEPT).sort_by("id").to_pylist()
    return {row["id"]: row for row in rows}


def scanned(texts, part, **facts):
    """(document, character) of all places of ``part``, in order."""
    return [
        (id, place)
        for id, row in texts.items()
        if all(row[name] == value for name, value in facts.items())
        for place in range(len(row["text"]))
        if row["text"].startswith(part, place)
    ]


def parts_of(texts, number, seed=0):
    draw, whole = random.Random(seed), [row["text"] for row in texts.values()]
    for _ in range(number):
        text = draw.choice(whole)
        start = draw.randrange(len(text))
        yield text[start : start + draw.choice([1, 2, 3, 5, 8, 13, 40, 200])]


def incomplete(tokenizer, whole=tracer.Pieces.of):
    """Pieces of a tokenizer that loses letters: documents with a certain token have more letters than their tokens."""
    pieces = whole(tokenizer).pieces
    token = tokenizer("Lease")["input_ids"][0]
    return tracer.Pieces([piece + b"?" if number == token else piece for number, piece in enumerate(pieces)])


@pytest.mark.parametrize("pieces", ["by the index", "by reading", "by both"])
def test_exact_search_is_a_scan_of_the_texts(bank, texts, pieces, monkeypatch):
    bank = bank.__reduce__()[0](*bank.__reduce__()[1])
    if pieces == "by reading":
        monkeypatch.setattr(tracer.Pieces, "of", lambda tokenizer: None)
    if pieces == "by both":
        monkeypatch.setattr(tracer.Pieces, "of", incomplete)
    for part in [*parts_of(texts, 25), "of a bank is held by one writer", "nowhere to be read", "\n", "e", "\udc80"]:
        expected = scanned(texts, part)
        results = bank.find_text(part, limit=7, around=3)
        assert [(place.document, place.start) for place in results] == expected[:7]
        assert results.total == bank.count(part) == len(expected)
        assert results.documents == len({document for document, _ in expected})
        for place in results:
            text = texts[place.document]["text"]
            assert text[max(place.start - 3, 0) : place.end + 3] == place.before + part + place.after
            assert place.collection == texts[place.document]["collection"] and place.locator in repr(place)
    others = bank._tracer._others
    assert (
        others is None
        if pieces == "by reading"
        else 0 < len(others) < len(texts)
        if pieces == "by both"
        else not others
    )


def test_a_condition_narrows_exact_search_and_tracing(bank, texts):
    for part in parts_of(texts, 8, seed=1):
        expected = scanned(texts, part, collection="alpha")
        assert bank.count(part, {"collection": "alpha"}) == bank.count(part, "collection = 'alpha'") == len(expected)
        assert bank.count(part, {"tenant": "somebody"}) == 0
    document, row = next((id, row) for id, row in texts.items() if row["collection"] == "beta")
    trace = bank.trace(row["text"], {"collection": "beta"})
    assert {one.collection for span in trace for one in span.sources} == {"beta"}
    assert any(one.document == document for span in trace for one in span.sources)
    assert len(bank.trace(row["text"], {"tenant": "somebody"})) == 0
    with pytest.raises(QueryError, match="speaker"):
        bank.count("a", {"speaker": "Ada"})


def test_a_text_of_the_bank_is_one_span_of_it(bank, texts):
    document, row = max(texts.items(), key=lambda pair: len(pair[1]["text"]))
    words = row["text"].split(" ")
    part = " ".join(words[3:40])
    trace = bank.trace(part)
    (span,) = trace
    assert (span.text, span.count, span.documents, trace.covered) == (part, 1, 1, 1.0)
    (source,) = span.sources
    assert source.document == document and row["text"][source.start : source.end] == part
    assert json.loads(json.dumps(trace.as_json()))["spans"][0]["sources"][0]["locator"] == source.locator
    assert source.locator in repr(trace) and "100%" in repr(trace)


def test_spans_are_the_maximal_ones_of_whole_words(bank, texts):
    """Against a comparison of all runs of words of the text with all documents."""
    draw, words = random.Random(5), []
    for row in draw.sample(sorted(texts.values(), key=lambda row: row["text"]), 4):
        own = row["text"].split(" ")
        start = draw.randrange(len(own) - 12)
        words += [*own[start : start + draw.randint(3, 12)], "otherwise"]
    text = " ".join(words)
    trace = bank.trace(text, least=1, rare=0, limit=1000)
    places = [0]
    for word in words:
        places.append(places[-1] + len(word) + 1)
    standing = [
        (first, last)
        for first in range(len(words))
        for last in range(first + 1, len(words) + 1)
        if scanned(texts, " " + " ".join(words[first:last]))
    ]
    maximal = {
        (places[first], places[last] - 1)
        for first, last in standing
        if not any(a <= first and last <= b and (a, b) != (first, last) for a, b in standing)
    }
    spans = {(span.start, span.end) for span in trace if " " in span.text}
    assert {pair for pair in maximal if " " in text[slice(*pair)]} <= spans
    for span in trace:
        assert text[span.start : span.end] == span.text
        expected = scanned(texts, span.text)
        assert 0 < span.count <= len(expected) and span.documents <= len({document for document, _ in expected})
        assert all((one.document, one.start) in expected for one in span.sources)
        assert sum(one.count for one in span.sources) == span.count
    assert [span.count for span in trace] == sorted(span.count for span in trace)


def test_long_matches_are_found_as_short_ones_are(bank, texts, monkeypatch):
    from mnemic.trace import spans

    text = "x " + " ".join(row["text"] for row in list(texts.values())[:5])
    tokens = bank._tracer._tokenizer(None)[0](text)["input_ids"]
    import numpy as np

    index, tokens = index_of(bank.view), np.array(tokens)
    exact = spans.begins(index, tokens)
    monkeypatch.setattr(spans, "_AT_ONCE", 3)
    assert np.array_equal(spans.begins(index, tokens), exact)
    monkeypatch.setattr(spans, "_AT_ONCE", 10_000)
    assert np.array_equal(spans.begins(index, tokens), exact)


def test_short_spans_count_where_they_are_rare(bank, texts):
    text = "The lease of a bank"
    assert bank.trace(text, least=1000, rare=1e9).spans == ()
    assert [span.text for span in bank.trace(text, least=1000, rare=1.0)] == [text]


def test_what_cannot_be_asked_is_a_sentence(bank, tiny, tmp_path):
    with pytest.raises(QueryError, match="empty string"):
        bank.count("")
    with pytest.raises(QueryError, match="in parts"):
        bank.trace("a" * (tracer.LONGEST + 1))
    with pytest.raises(QueryError, match="limit"):
        bank.find_text("a", limit=-1)
    with pytest.raises(QueryError, match="no text"):
        bank.trace(b"bytes")
    for ask in (lambda: tiny.open().count("a"), lambda: tiny.open().trace("a")):
        with pytest.raises(BankError, match=r"suffixes: \{\}"):
            ask()
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(ModelError, match="not the one"):
        bank.count("a", tokenizer=other)
    loaded = languagemodel.tokenizer(bank.release.recipe["language_model"])
    assert bank.count("a", tokenizer=loaded) == bank.count("a")
    assert bank.trace("").spans == () and bank.trace(" \n").spans == ()


def test_grep_and_trace_are_commands(bank, texts, capsys, monkeypatch, tmp_path):
    row = texts[max(texts)]
    part = " ".join(row["text"].split(" ")[1:9])
    assert main(["grep", bank.path, part]) == 0
    output = capsys.readouterr().out
    assert part in output and "1 place in 1 document" in output and "\x1b" not in output
    assert main(["grep", bank.path, part, "--json", "-k", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["places"][0]["document"] == max(texts)
    assert main(["grep", bank.path, part, "--count", "--tenant", "nobody"]) == 0
    assert capsys.readouterr().out.strip() == "0"
    file = tmp_path / "answer.txt"
    file.write_text(f"Somebody said: {part}\x1b[31m.")
    assert main(["trace", bank.path, str(file)]) == 0
    output = capsys.readouterr().out
    assert part in output and "1 span" in output and "\x1b" not in output
    assert main(["trace", bank.path, str(file), "--json", "--where", "length > 1"]) == 0
    assert json.loads(capsys.readouterr().out)["spans"][0]["text"] == part
    with open(file) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert main(["trace", bank.path]) == 0
    assert part in capsys.readouterr().out
    from mnemic.command.trace import shown

    coloured = shown(bank.trace(file.read_text()), True)
    assert f"\x1b[33m{part}\x1b[0m" in coloured and "\x1b[31m" not in coloured


def test_what_a_model_says_is_traced(bank, capsys):
    assert main(["trace", bank.path, "--generate", "The lease", "--tokens", "8", "--json"]) == 0
    trace = json.loads(capsys.readouterr().out)
    assert trace["text"] and set(trace) == {"release", "text", "covered", "spans"}
    assert main(["trace", bank.path, "--generate", "", "--tokens", "8"]) == 5 or capsys.readouterr()
