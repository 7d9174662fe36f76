"""Questions of evaluation sets are told in documents, also where case, digits, punctuation and accents differ."""

import json
import random
import re
import unicodedata

import pyarrow as pa
import pytest

from mnemic.errors import RecipeError
from operators.contamination.operator import Contamination
from operators.contamination.sets import SetQuestion, files_of, questions_of
from operators.contamination.table import QuestionTable

QUESTION = (
    "In 1843 the caf\u00e9 owner of Z\u00fcrich, Ada's friend, counted 512 spoons: how many of them were made of "
    "silver before the second fire?"
)
CHANGES = {
    "as it is": lambda text: text,
    "in capitals": str.upper,
    "with other digits": lambda text: re.sub(r"\d", "7", text),
    "without punctuation": lambda text: re.sub(r"[^\w\s]", " ", text),
    "with other punctuation": lambda text: text.replace(",", " --").replace(":", ";").replace("?", "!!"),
    "over several lines": lambda text: text.replace(" ", "\n  "),
    "without accents": lambda text: "".join(
        one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn"
    ),
    "in another Unicode form": lambda text: unicodedata.normalize("NFD", text),
}


def table(*texts, ngram=13, shortest=8):
    return QuestionTable([SetQuestion("set", str(place), text) for place, text in enumerate(texts)], ngram, shortest)


@pytest.mark.parametrize("change", CHANGES)
def test_a_question_is_told_after(change):
    question = CHANGES[change](QUESTION)
    document = f"Before it stands this. {question} And this behind."
    (match,) = table(QUESTION).matches(pa.array([document]))[0]
    assert match.share == 1.0 and match.question == 0
    assert document[match.start : match.end] == question.rstrip("?! ")


def test_fewer_words_than_an_ngram_are_no_match_and_a_part_has_its_share():
    words = QUESTION.split()
    texts = [" ".join(words[:11]), " ".join(words[:12]), " ".join(words[3:20])]  # "Ada's" is two
    none, one, part = table(QUESTION).matches(pa.array(texts))
    assert none == [] and len(one) == 1 and one[0].share == pytest.approx(1 / 13)
    assert part[0].start == 0 and 0.4 < part[0].share < 1


def test_a_short_question_is_compared_as_a_whole():
    short = "Who wrote the first program of them all?"
    questions = table(short, "Who is it?")
    assert len(questions.matches(pa.array([f"x {short.lower()} y"]))[0]) == 1
    assert questions.matches(pa.array(["Who wrote the first program of them? Who is it?"]))[0] == []


def brute_force(questions, text, ngram):
    """Spans of words by their definition."""

    def words(one):
        plain = "".join(c for c in unicodedata.normalize("NFD", one.lower()) if unicodedata.category(c) != "Mn")
        return [re.sub(r"\d", "0", word) for word in re.findall(r"[a-z0-9]+", plain)]

    mine, spans = words(text), set()
    for number, question in enumerate(questions):
        its = words(question)
        grams = {tuple(its[at : at + ngram]) for at in range(len(its) - ngram + 1)}
        hits = [at for at in range(len(mine) - ngram + 1) if tuple(mine[at : at + ngram]) in grams]
        begin = last = None
        for at in hits:
            if begin is None or at > last + ngram:
                if begin is not None:
                    spans.add((number, begin, last + ngram))
                begin = at
            last = at
        if begin is not None:
            spans.add((number, begin, last + ngram))
    return spans


@pytest.mark.parametrize("seed", range(20))
def test_spans_are_those_of_the_definition(seed):
    draw = random.Random(seed)
    some = ["ada", "counts", "7", "spoons", "and", "Zebras"]
    questions = [" ".join(draw.choices(some, k=draw.randint(8, 20))) for _ in range(5)]
    pieces = [draw.choice([*questions, *(" ".join(draw.choices(some, k=6)) for _ in range(5))]) for _ in range(8)]
    text = ", ".join(pieces)
    starts = [match.start() for match in re.finditer(r"\w+", text)]
    ends = [match.end() for match in re.finditer(r"\w+", text)]
    matches = table(*questions, ngram=8).matches(pa.array(["x", text]))[1]
    assert {(m.question, m.start, m.end) for m in matches} == {
        (number, starts[first], ends[last - 1]) for number, first, last in brute_force(questions, text, 8)
    }


def test_any_split_into_batches_gives_the_same_rows(tmp_path):
    (tmp_path / "set.txt").write_text(f"{QUESTION}\nAnother question that has more than eight words in it?\n")
    operator = Contamination(("set.txt",), root=str(tmp_path)).resolved()
    texts = [f"{number} {QUESTION if number % 3 == 0 else 'nothing'}" for number in range(10)]
    rows = pa.RecordBatch.from_pydict({"id": [str(n) for n in range(10)], "text": pa.array(texts, pa.large_string())})
    compare = operator.open("cpu")
    whole = compare(rows)[0].to_pylist()
    assert [row["document"] for row in whole] == ["0", "3", "6", "9"]
    assert whole[0] == {
        "document": "0",
        "start": 2,
        "end": len(texts[0]) - 1,
        "set": "set.txt",
        "question": "1",
        "share": 1.0,
    }
    assert [row for at in range(10) for row in compare(rows.slice(at, 1))[0].to_pylist()] == whole


def test_files_of_questions_are_read_with_their_ids(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": "q1", "question": "one", "choices": ["two", {"text": "three"}]}\n\n{"q": "four"}\n'
    )
    (tmp_path / "b.json").write_text(json.dumps({"version": 1, "data": [{"id": 7, "question": "five"}]}))
    (tmp_path / "c.txt").write_text("six\n\nseven\n")
    files = files_of(("*.jsonl", "b.json", "c.txt"), str(tmp_path))
    questions = [(one.set, one.id, one.text) for file in files for one in questions_of(file)]
    assert questions == [
        *(("a.jsonl", "q1", text) for text in ("one", "two", "three")),
        ("a.jsonl", "3", "four"),
        ("b.json", "7", "five"),
        ("c.txt", "1", "six"),
        ("c.txt", "3", "seven"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.txt", None, "name no file"),
        ("a.csv", b"x", "is no file of evaluation sets"),
        ("a.jsonl", b'{"q": 1}\n{"q": ', "line 2, is not JSON"),
        ("a.json", b"[" * 100_000, "is not JSON"),
        ("a.txt", b"caf\xe9", "is not UTF-8"),
    ],
)
def test_a_set_that_cannot_be_read_is_told(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=sentence):
        Contamination((name,), root=str(tmp_path)).resolved().open("cpu")


@pytest.mark.parametrize("changes", [{"ngram": 1}, {"action": "burn"}, {"sets": ()}, {"shortest": 0}])
def test_settings_out_of_bounds_are_told(changes):
    with pytest.raises(RecipeError, match="give"):
        Contamination(**{"sets": ("a.txt",), **changes})
