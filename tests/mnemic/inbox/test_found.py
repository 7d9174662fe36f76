"""A search finds what waits: its vectors exactly, its words as the index would, and under every condition."""

import collections
import math
import random

import numpy as np
import pyarrow as pa
import pytest

import mnemic
from mnemic.dataset import Store
from mnemic.dataset.filtered import satisfying
from mnemic.dataset.index import build_indexes, search_text
from mnemic.dataset.write import append, write_rows
from mnemic.errors import BankError, QueryError
from mnemic.inbox import inbox as limits
from mnemic.inbox import vectors
from mnemic.inbox.files import files_of_inbox
from mnemic.search.words import K1, LEFT_OUT, B, roots, word_scores

NOTE = "Zebras graze beside the observatory."
TALK = [{"speaker": "Ada", "text": "I mended the violin."}, {"speaker": "Bob", "text": "Then play it, Ada."}]
WORDS = ("lease", "writer", "table", "index", "column", "cluster", "release", "build", "query", "memory", "token")


@pytest.fixture
def bank(tiny, tmp_path):
    return mnemic.open_bank(tiny.copy(tmp_path)["bank"])


def texts(bank, question="zebras violin", **settings):
    return [hit.text for hit in bank.search(question, words=None, k=400, **settings) if hit.pending]


def test_a_row_is_found_by_its_words_and_by_its_vector(bank):
    bank.remember(NOTE, tenant="zoo", time="2026-03-02")
    (hit,) = bank.search("zebras observatory", k=1)
    assert (hit.text, hit.pending, hit.source, hit.tenant) == (NOTE, True, "inbox", "zoo")
    assert hit.bm25 > 0 and hit.reason.startswith("remembered, not yet consolidated, meaning: rank ")
    vector = bank.encoder.encode_alone([NOTE])[0]
    (near,) = bank.search("nothing shared", k=1, vector=vector)
    assert near.text == NOTE and near.similarity == pytest.approx(1.0, abs=1e-5) and near.bm25 is None
    rows = bank.search("zebras observatory", k=3).to_table()
    assert (
        rows["pending"].to_pylist().count(True) == 1
        and "not yet consolidated" in bank.search("zebras", k=1)._repr_html_()
    )


def test_conditions_hold_for_what_waits(bank):
    bank.remember(NOTE, tenant="zoo", time="2026-03-02T09:30:00Z")
    bank.remember(TALK, tenant="team", time="2026-05-04")
    talk = ["Ada: I mended the violin.", "Bob: Then play it, Ada."]
    for where, expected in [
        ({"tenant": "zoo"}, [NOTE]),
        ({"tenant": "team"}, talk),
        ({"tenant": "nobody"}, []),
        ({"tenant": []}, []),
        ({"tenant": ["zoo", "team"]}, [NOTE, *talk]),
        ([{"tenant": "team"}, "tenant = 'zoo' OR true"], talk),
        ({"speaker": "Bob"}, talk[1:]),
        ({"source": "inbox", "after": "2026-04-01"}, talk),
        ({"source": "inbox", "before": "2026-04-01"}, [NOTE]),
        ({"source": "folder"}, []),
        ("source = 'inbox' AND text ILIKE '%violin%' AND array_has(speakers, 'Ada')", talk[:1]),
        ("source = 'inbox' AND words > 5 AND level = 'turn'", []),
        ({"session": "x"}, []),
    ]:
        assert sorted(texts(bank, where=where)) == sorted(expected), where


def test_levels_and_budgets(bank):
    bank.remember(NOTE)
    bank.remember(TALK)
    whole = "Ada: I mended the violin.\nBob: Then play it, Ada."
    assert sorted(texts(bank, level="session")) == sorted([whole, NOTE])
    assert sorted(texts(bank, level="event")) == sorted([whole, NOTE])
    assert sorted(texts(bank, level="turn")) == sorted(whole.split("\n"))
    assert texts(bank, level="passage") == []
    for words in (3, 12, 40):
        results = bank.search("violin mended", words=words)
        assert results.words <= words and results[0].pending
    assert bank.search("violin mended", tokens=30)[0].pending
    dated = bank.search("violin mended", words=60, dated=True)
    assert dated.dated_words <= 60 and any("mended the violin" in text for text in dated.dated)


def test_a_pinned_release_and_pickled_copies(bank):
    import pickle

    bank.remember(NOTE)
    pinned = mnemic.open_bank(bank.path, bank.release.name)
    assert not texts(pinned) and texts(pickle.loads(pickle.dumps(bank))) == [NOTE]
    assert not texts(pickle.loads(pickle.dumps(pinned)))


def test_a_bank_without_an_inbox_ranks_as_before(tiny, bank):
    questions = ["lease of a bank", "table index", "memory token model"]
    assert [tiny.open().search(one) for one in questions] == [bank.search(one) for one in questions]
    before = [best_of(bank, one)[:20] for one in questions]
    bank.remember(NOTE, tenant="zoo")
    assert [best_of(bank, one)[:20] for one in questions] == before, "released rows keep their scores and order"


def best_of(bank, question):
    """Ids of the released rows, best first."""
    hits = [hit for hit in bank.search(question, k=30) if not hit.pending]
    return [hit.id for hit in sorted(hits, key=lambda hit: (-hit.score, hit.id))]


def test_a_key_is_for_one_call(bank):
    ids = bank.remember(TALK, tenant="team", key="monday")
    assert bank.remember(TALK, tenant="team", key="monday") == ids and len(bank.inbox()) == 1
    with pytest.raises(QueryError, match="stands for something else"):
        bank.remember(TALK[:1], tenant="team", key="monday")
    assert bank.remember(TALK, tenant="zoo", key="monday") != ids and len(bank.inbox("zoo")) == 1


def test_too_much_is_told(bank, monkeypatch):
    monkeypatch.setattr(limits, "PENDING_CALLS", 2)
    bank.remember("one")
    bank.remember("two")
    with pytest.raises(BankError, match="Build the bank"):
        bank.remember("three")
    monkeypatch.setattr(limits, "PENDING_CALLS", 9)
    monkeypatch.setattr(limits, "PENDING_BYTES", 20)
    with pytest.raises(BankError, match="Build the bank"):
        bank.remember("a longer text than there is room for")


def test_a_folder_that_is_a_link_is_refused(bank, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "bank" / "inbox").symlink_to(tmp_path / "elsewhere")
    for act in (lambda: bank.remember(NOTE), lambda: bank.search("zebras")):
        with pytest.raises(BankError, match="no folder"):
            act()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_killed_writers_left_is_no_row(bank):
    bank.remember(NOTE)
    files = files_of_inbox(bank.store)
    left = f"{files.uri}/.{'0' * 32}.partial"
    with open(left, "w") as file:
        file.write("half a row")
    assert len(bank.inbox()) == 1 and len(files.names()) == 1


def test_conditions_in_memory_are_those_of_lance():
    draw = random.Random(0)
    rows = pa.table(
        {
            "tenant": [draw.choice("abc") for _ in range(300)],
            "words": pa.array([draw.choice([None, 1, 5, 9]) for _ in range(300)], pa.int32()),
            "speakers": [draw.sample(["Ada", "Bob", "Cleo"], draw.randint(0, 3)) for _ in range(300)],
        }
    )
    expected = {
        "tenant IN ('a', 'b')": [one in "ab" for one in rows["tenant"].to_pylist()],
        "words > 4": [(one or 0) > 4 for one in rows["words"].to_pylist()],
        "words IS NULL": [one is None for one in rows["words"].to_pylist()],
        "array_has(speakers, 'Ada')": ["Ada" in one for one in rows["speakers"].to_pylist()],
        "false": [False] * 300,
    }
    for where, flags in expected.items():
        assert satisfying(rows, where).tolist() == flags, where
    assert satisfying(rows.slice(0, 0), "words > 4").tolist() == []


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Texts of rare and common words, and the index of Lance over them."""
    draw = random.Random(1)
    shares = [1 / (place + 1) for place in range(len(WORDS))]
    lines = [" ".join(draw.choices(WORDS, shares, k=draw.randint(4, 30))) for _ in range(2_000)]
    lines.append(" ".join(sorted(LEFT_OUT)) + " zebra")
    schema = pa.schema(
        [pa.field("id", pa.string(), nullable=False), pa.field("text", pa.large_string(), nullable=False)]
    )
    dataset = Store(tmp_path_factory.mktemp("indexed"))["events"]
    dataset.create(schema, {}, {})
    table = pa.table({"id": [str(number) for number in range(len(lines))], "text": lines}, schema=schema)
    append(dataset, write_rows(dataset.uri, table, schema), {})
    build_indexes(dataset)
    return dataset.require(), lines


def test_words_that_the_index_leaves_out(indexed):
    snapshot, _ = indexed
    assert all(not len(search_text(snapshot, "text", "id", word, 1, None)) for word in LEFT_OUT)
    assert len(search_text(snapshot, "text", "id", "zebra", 1, None)) == 1


def test_words_score_as_the_index_scores_them(indexed):
    """Rows that the index ranked, scored as if they waited: near to their scores, and in nearly their order."""
    snapshot, lines = indexed
    pairs = []
    for query in ("memory token", "token memory index", "memory", "query writer"):
        best = search_text(snapshot, "text", "id", query, 200, None)
        ids, scores = [int(one) for one in best["id"].to_pylist()], best["_score"].to_numpy().astype(np.float64)
        out = random.Random(query).sample(range(len(ids)), 20)
        rest = [place for place in range(len(ids)) if place not in out][:100]
        mine = word_scores(
            query, [lines[ids[place]] for place in out], [lines[ids[place]] for place in rest], scores[rest], len(lines)
        )
        assert np.median(np.abs(mine - scores[out]) / scores[out]) < 0.2, query
        pairs.append((mine, scores[out]))
    assert np.corrcoef(*map(np.concatenate, zip(*pairs, strict=True)))[0, 1] > 0.9


def test_scores_are_bm25_by_its_definition():
    query, mine, best = (
        "violin lease",
        ["a violin and a lease", "the lease", "nothing"],
        ["violin", "lease lease", "other words"],
    )
    every = [roots(text) for text in (*best, *mine)]
    mean = sum(map(len, every)) / len(every)

    def bm25(words):
        total = 0.0
        for word in ("violin", "leas"):
            holders = sum(word in one for one in every)
            count = collections.Counter(words)[word]
            weight = math.log(1 + (10 + 3 - holders + 0.5) / (holders + 0.5))
            total += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * len(words) / mean))
        return total

    own = [bm25(words) for words in every]
    scores = np.array([2 * own[0], 2 * own[1], 0.0])
    expected = [2 * own[3], 2 * own[4], np.nan]
    assert word_scores(query, mine, best, scores, 10).tolist() == pytest.approx(expected, nan_ok=True)
    assert np.isnan(word_scores("the", mine, best, scores, 10)).all(), "a question of words that no index has"


def test_vectors_are_kept_for_the_next_process(bank, tmp_path, monkeypatch):
    for number in range(vectors.WORTH):
        bank.remember(f"Row {number} of many.")
    expected = [(hit.id, hit.similarity) for hit in bank.search("row of many", k=5)]
    (file,) = (tmp_path / "bank.cache").iterdir()
    again = mnemic.open_bank(bank.path)
    monkeypatch.setattr(type(again.encoder), "encode_alone", lambda self, texts: pytest.fail("they are known"))
    assert [(hit.id, hit.similarity) for hit in again.search("row of many", k=5)] == expected
    monkeypatch.undo()
    for damaged in (b"", b"PK", file.read_bytes()[:-30]):
        file.write_bytes(damaged)
        assert [(hit.id, hit.similarity) for hit in mnemic.open_bank(bank.path).search("row of many", k=5)] == expected
    bank.forget(bank.inbox()[0].rows[0].id)
    assert not file.exists(), "nothing of a forgotten text is left there"
