"""Splitting documents into units."""

import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_texts import TEXTS, documents

from mnemic.errors import RecipeError
from mnemic.schema import UNITS
from operators.contracts import REJECTED
from operators.sentences import Sentences
from operators.sentences import operator as sentences


def split(text: str, **fields: int) -> list[str]:
    return [text[start:end] for start, end in Sentences(**fields).ranges(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two there! Three? Yes.", ["One here.", "Two there!", "Three?", "Yes."]),
        (
            "See e.g. This, i.e. That, vs. Those, etc. And more.",
            ["See e.g. This, i.e. That, vs. Those, etc. And more."],
        ),
        ("Mr. Smith and Dr. J. R. Jones met. They left.", ["Mr. Smith and Dr. J. R. Jones met.", "They left."]),
        (
            "Pi is 3.14. See Fig. B here. It is 2. 5 was before.",
            ["Pi is 3.14.", "See Fig. B here.", "It is 2. 5 was before."],
        ),
        ('He said "Stop." She said (No.) Then "go".', ['He said "Stop."', "She said (No.)", 'Then "go".']),
        ('It ended. "why?" she asked. lower case goes on', ["It ended.", '"why?" she asked. lower case goes on']),
        ("So am I. You too.", ["So am I.", "You too."]),
        ("one paragraph\n  \nanother\nwrapped line", ["one paragraph", "another\nwrapped line"]),
        ("# Title\nBody text", ["# Title", "Body text"]),
        ("Parameters\n----------\nx : int", ["Parameters\n----------", "x : int"]),
        (
            "List:\n- one\n  more\n* two\n1. three\n(2) four",
            ["List:", "- one\n  more", "* two", "1. three", "(2) four"],
        ),
        ("Code:\n>>> f(x)\n... y\n:param x: it", ["Code:", ">>> f(x)", "... y", ":param x: it"]),
        ("\u8fd9\u662f\u3002\u90a3\u662f\uff01\u597d", ["\u8fd9\u662f\u3002", "\u90a3\u662f\uff01", "\u597d"]),
    ],
)
def test_rules(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(TEXTS, st.integers(1, 30), st.integers(0, 30))
@settings(max_examples=200)
def test_units_tile_everything_but_whitespace(text: str, least: int, more: int) -> None:
    ranges = Sentences(max_characters=least + more, min_characters=least).ranges(text)
    position = 0
    for start, end in ranges:
        assert text[position:start].strip() == ""
        assert position <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert end - start <= least + more
        position = end
    assert text[position:].strip() == ""


def test_long_units_are_cut_at_spaces_and_short_ones_joined() -> None:
    assert split("aaaa bbbb cccc dddddddddddd", max_characters=10) == ["aaaa bbbb", "cccc", "dddddddddd", "dd"]
    assert split("Yes. No. It was a long story. Ok.", min_characters=6) == ["Yes. No.", "It was a long story. Ok."]


def test_rows_carry_their_document_and_empty_ones_are_given_back() -> None:
    batch = documents(["First. Second.", " \n\t", "Third."])
    units, rejects = Sentences().open("cpu")(batch)
    assert units.schema == UNITS == Sentences().output(batch.schema)
    assert units.select(["document", "ordinal", "start", "end", "speaker"]).to_pylist() == [
        {"document": "d0", "ordinal": 0, "start": 0, "end": 6, "speaker": "speaker 0"},
        {"document": "d0", "ordinal": 1, "start": 7, "end": 14, "speaker": "speaker 0"},
        {"document": "d2", "ordinal": 0, "start": 0, "end": 6, "speaker": "speaker 0"},
    ]
    assert units.column("text").to_pylist() == ["First.", "Second.", "Third."]
    assert rejects.schema == REJECTED
    assert [(row["input"], row["locator"], row["severity"]) for row in rejects.to_pylist()] == [
        ("d1", "folder/1.txt", "empty")
    ]


def test_a_turn_is_a_unit_and_a_long_one_its_sentences() -> None:
    text = "Ann: Hello. How are you?\nBob: Fine.\nAnn: This is one sentence. And here is another one."
    bounds = [(0, 24), (25, 35), (36, len(text))]
    spoken = [
        {"id": f"t{n}", "start": start, "end": end, "speaker": speaker, "time": time}
        for n, ((start, end), speaker, time) in enumerate(zip(bounds, ("Ann", "Bob", "Ann"), (5, None, 7), strict=True))
    ]
    batch = documents(["Just text. Two sentences.", text, ""], [None, spoken, None])
    units, rejects = Sentences(max_characters=30).open("cpu")(batch)
    assert rejects.column("input").to_pylist() == ["d2"]
    columns = ["document", "turn", "speaker", "text", "tenant"]
    assert [tuple(row.values()) for row in units.select(columns).to_pylist()] == [
        ("d0", "", "speaker 0", "Just text.", "tenant 0"),
        ("d0", "", "speaker 0", "Two sentences.", "tenant 0"),
        ("d1", "t0", "Ann", "Ann: Hello. How are you?", "tenant 1"),
        ("d1", "t1", "Bob", "Bob: Fine.", "tenant 1"),
        ("d1", "t2", "Ann", "Ann: This is one sentence.", "tenant 1"),
        ("d1", "t2", "Ann", "And here is another one.", "tenant 1"),
    ]
    times = units.column("time").cast(pa.int64()).to_pylist()
    assert times == [None, None, 5, 1000, 7, 7], "a turn without a time has its document's"
    for row in units.to_pylist()[2:]:
        assert text[row["start"] : row["end"]] == row["text"]


@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(0, 6))
@settings(max_examples=40)
def test_any_split_into_batches_gives_the_same_units(texts: list[str], at: int) -> None:
    worker, batch = Sentences().open("cpu"), documents(texts)
    whole = worker(batch)
    parts = [worker(batch.slice(0, at)), worker(batch.slice(at))]
    for k in range(2):
        joined = pa.Table.from_batches([part[k] for part in parts])
        assert joined.equals(pa.Table.from_batches([whole[k]]))


@pytest.mark.parametrize(
    "text",
    [
        "." * 10**6,
        ". " * 300_000,
        "\n:" + "a" * 10**6,
        '."' * 300_000,
        "\n" * 10**6,
        " " * 10**6 + "a",
        "\n#" * 200_000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    Sentences().ranges(text)
    assert time.process_time() - start < 5


def test_impossible_lengths_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"between 10 and 5 characters.*set min_characters"):
        Sentences(min_characters=10, max_characters=5)


@given(TEXTS, st.integers(2, 12), st.integers(1, 30))
@settings(max_examples=200)
def test_a_document_of_very_many_units_has_neighbours_joined(text: str, most: int, longest: int) -> None:
    unbounded = Sentences(max_characters=longest).ranges(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentences, "MOST_UNITS", most)
        bounded = Sentences(max_characters=longest).ranges(text)
        roomy = Sentences().ranges(text)
    assert len(roomy) <= most
    if len(unbounded) <= most:
        assert bounded == unbounded
    assert {start for start, _ in bounded} <= {start for start, _ in unbounded}
    assert {end for _, end in bounded} <= {end for _, end in unbounded}
    assert all(end - start <= longest for start, end in bounded)
    ends, starts = [0, *(end for _, end in bounded)], [*(start for start, _ in bounded), len(text)]
    assert not "".join(text[end:start] for end, start in zip(ends, starts, strict=True)).strip()


def test_turns_of_a_very_long_conversation_are_joined_and_say_only_what_all_of_them_say(monkeypatch) -> None:
    monkeypatch.setattr(sentences, "MOST_UNITS", 4)
    lines = [f"{'ABBB'[place % 4]}: {place:02d}" for place in range(16)]
    text, turns, start = "\n".join(lines), [], 0
    for place, line in enumerate(lines):
        turns.append({"id": str(place), "start": start, "end": start + len(line), "speaker": line[0], "time": place})
        start += len(line) + 1
    units, rejects = Sentences().open("cpu")(documents([text, "B: alone"], [turns, None]))
    rows = units.to_pylist()
    assert rejects.num_rows == 0 and len(rows) <= 5 and rows[-1]["text"] == "B: alone"
    assert "\n".join(row["text"] for row in rows[:-1]) == text
    for row in rows[:-1]:
        inside = [turn for turn in turns if row["start"] <= turn["start"] < row["end"]]
        speakers = {turn["speaker"] for turn in inside}
        assert row["turn"] == (inside[0]["id"] if len(inside) == 1 else "")
        assert row["speaker"] == (speakers.pop() if len(speakers) == 1 else "speaker 0")
        assert row["time"].microsecond == inside[0]["time"]


SCRIPTS = {
    "Hindi": "यह पहला वाक्य है। ",
    "Sanskrit": "धर्मक्षेत्रे कुरुक्षेत्रे॥ ",
    "Bengali": "এটি একটি বাক্য। ",
    "Urdu": "یہ ایک جملہ ہے۔ ",
    "Arabic, asked": "كيف الحال؟ ",
    "Arabic": "هذه جملة. ",
    "Persian": "این یک جمله است. ",
    "Hebrew": "זה משפט. ",
    "Armenian": "Սա առաջինն է։ ",
    "Amharic": "ይህ የመጀመሪያው ነው። ",
    "Amharic, typed": "ይህ የመጀመሪያው ነው፡፡ ",
    "Amharic, asked": "ደህና ነህ፧ ",
    "Burmese": "ဒါက ပထမ။ ",
    "Khmer": "នេះជាប្រយោគ។ ",
    "Tibetan": "འདི་དང་པོ་ཡིན། ",
    "Tibetan, of a chapter": "འདི་དང་པོ་ཡིན། །",
    "Mongolian": "ᠨᠢᠭᠡ ᠦᠭᠦᠯᠡᠪᠦᠷᠢ᠃ ",
    "Sinhala": "මෙය වාක්‍යයකි෴ ",
    "Meetei Mayek": "ꯃꯁꯤ ꯑꯃꯅꯤ꯫ ",
    "Santali": "ᱱᱚᱣᱟ ᱫᱚ ᱢᱤᱫ᱾ ",
    "Japanese": "これは一つ目です。",
    "Japanese, half width": "これは一つ目です｡",
    "Chinese": "这是第一句。",
    "Chinese, full-width stop": "这是第一句．",
    "Chinese, small stop": "这是第一句﹒",
    "Chinese, vertical": "这是第一句︒",
    "Korean": "이것은 문장입니다. ",
    "Greek": "Αυτή είναι μία. ",
    "Russian": "Это первое. ",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_sentences_end_in_every_script(script: str) -> None:
    sentence = SCRIPTS[script]
    assert split(sentence * 3) == [sentence.strip()] * 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("यह है।वह है॥और।", ["यह है।", "वह है॥", "और।"]),
        ("«Բարև։» Ես այստեղ եմ։", ["«Բարև։»", "Ես այստեղ եմ։"]),
        ("(ٹھیک ہے۔) بی۔بی۔سی ہے۔ ہاں۔۔۔ نہیں", ["(ٹھیک ہے۔)", "بی۔بی۔سی ہے۔", "ہاں۔۔۔", "نہیں"]),
        ("ሰላም፡ነው። ደህና", ["ሰላም፡ነው።", "ደህና"]),
        ("１．はじめに。Ｕ．Ｓ．Ａ．です．次．", ["１．はじめに。", "Ｕ．Ｓ．Ａ．", "です．", "次．"]),
        ("円周率は３．１４です．2.5 もある．", ["円周率は３．１４です．", "2.5 もある．"]),
        ("｢これは一つ目です｡｣次｡", ["｢これは一つ目です｡｣", "次｡"]),
        ("एक।\n\nदो। ।", ["एक।", "दो। ।"]),
    ],
)
def test_marks_of_other_scripts_end_a_sentence_and_nothing_else_does(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize("hostile", ["।", "। ", "۔", "۔a", "． ", "፡", "፡፡ ", "། །", "।'", "( ।) ", "।" + " " * 1000])
def test_marks_without_end_take_linear_time(hostile: str) -> None:
    start = time.process_time()
    split(hostile * (300_000 // len(hostile)))
    assert time.process_time() - start < 5
