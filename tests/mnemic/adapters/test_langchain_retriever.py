"""A bank as a retriever of LangChain: the same events as a search, in a chain, in threads, and without it."""

import asyncio
import json
import pickle
import subprocess
import sys

import pytest

from mnemic.errors import QueryError

pytest.importorskip("langchain_core", reason="LangChain is not installed (extra `langchain`)")

from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import ValidationError

from mnemic.adapters.langchain import BankRetriever

QUERY = "table index version"


@pytest.fixture(scope="module")
def bank(tiny):
    return tiny.open()


def ids(documents):
    return [document.id for document in documents]


def test_a_retriever_that_has_searched_is_pickled(bank):
    retriever = BankRetriever(bank=bank, words=120)
    documents = retriever.invoke(QUERY)
    assert pickle.loads(pickle.dumps(retriever)).invoke(QUERY) == documents


def test_documents_are_what_a_search_finds(bank):
    documents = BankRetriever(bank=bank, words=120).invoke(QUERY)
    hits = bank.search(QUERY, words=120)
    assert documents and ids(documents) == [event.id for event in hits]
    assert [document.page_content for document in documents] == [event.text for event in hits]
    for document, event in zip(documents, hits, strict=True):
        assert document.metadata["document"] == event.document and document.metadata["locator"] == event.locator
        assert document.metadata["score"] == event.score and document.metadata["reason"] == event.reason
        assert (document.metadata["start"], document.metadata["end"]) == (event.start, event.end)


def test_metadata_is_json(bank):
    documents = BankRetriever(bank=bank, k=50, words=None).invoke("lease of a bank")
    metadata = [json.loads(json.dumps(document.metadata, allow_nan=False)) for document in documents]
    assert metadata == [document.metadata for document in documents]
    (lease,) = [row for row in metadata if row["locator"].startswith("notes.jsonl")]
    assert lease["time"] == "2026-01-02T03:04:05+00:00" and None in [row["time"] for row in metadata]


def test_a_retriever_is_opened_from_a_path_with_any_setting_of_a_search(bank):
    settings = {"words": 90, "level": "passage", "where": {"collection": "alpha"}, "fit": "nearest", "contiguity": 0.3}
    hits = bank.search(QUERY, **settings)
    documents = BankRetriever.open(bank.path, **settings).invoke(QUERY)
    assert ids(documents) == [event.id for event in hits]
    assert {document.metadata["collection"] for document in documents} == {"alpha"}
    assert {document.metadata["level"] for document in documents} == {"passage"}
    assert ids(BankRetriever.open(bank.path, tokens=60).invoke(QUERY)) == [
        event.id for event in bank.search(QUERY, tokens=60)
    ]


def test_one_call_may_have_its_own_settings(bank):
    retriever = BankRetriever(bank=bank, words=None, k=2)
    assert len(retriever.invoke(QUERY)) == 2
    other = retriever.invoke(QUERY, k=3, where={"collection": "beta"})
    assert [document.metadata["collection"] for document in other] == ["beta"] * 3
    assert ids(asyncio.run(retriever.ainvoke(QUERY, k=3, where={"collection": "beta"}))) == ids(other)
    assert ids(retriever.bind(k=3, where={"collection": "beta"}).invoke(QUERY)) == ids(other)
    assert len(retriever.invoke(QUERY)) == 2


def test_a_call_can_narrow_but_not_widen_what_the_retriever_may_see(bank):
    retriever = BankRetriever(bank=bank, words=None, k=20, where={"collection": ["alpha", "beta"]})
    assert {document.metadata["collection"] for document in retriever.invoke(QUERY)} == {"alpha", "beta"}
    narrowed = retriever.invoke(QUERY, where={"collection": ["beta", "gamma"]})
    assert {document.metadata["collection"] for document in narrowed} == {"beta"}
    assert retriever.invoke(QUERY, where="collection = 'gamma' OR true") != []
    assert retriever.invoke(QUERY, where={"collection": "gamma"}) == []


def test_a_setting_can_be_left_to_the_configuration_of_a_chain(bank):
    chain = BankRetriever(bank=bank, words=None, k=2).configurable_fields(k=ConfigurableField(id="k"))
    assert len(chain.invoke(QUERY)) == 2
    assert len(chain.invoke(QUERY, {"configurable": {"k": 4}})) == 4


def test_settings_that_do_not_exist_are_refused(bank):
    with pytest.raises(ValidationError, match="word"):
        BankRetriever(bank=bank, word=200)
    with pytest.raises(TypeError, match="'word'"):
        BankRetriever(bank=bank).invoke(QUERY, word=200)
    with pytest.raises(QueryError, match="did you mean 'speaker'"):
        BankRetriever(bank=bank, where={"speakers": "Ada"}).invoke(QUERY)


def test_reading_order_or_best_first(bank):
    read = BankRetriever(bank=bank, words=None, k=20).invoke(QUERY)
    ranked = BankRetriever(bank=bank, words=None, k=20, best_first=True).invoke(QUERY)
    scores = [document.metadata["score"] for document in ranked]
    assert scores == sorted(scores, reverse=True)
    assert ids(read) != ids(ranked) and set(ids(read)) == set(ids(ranked))
    assert ids(BankRetriever(bank=bank, words=None, k=20).invoke(QUERY, best_first=True)) == ids(ranked)


def test_in_a_chain(bank):
    chain = BankRetriever(bank=bank, words=80) | RunnableLambda(
        lambda documents: "\n\n".join(document.page_content for document in documents)
    )
    assert chain.invoke(QUERY) == "\n\n".join(event.text for event in bank.search(QUERY, words=80))


def test_many_at_once_find_the_same_as_one_by_one(bank):
    queries = [f"{first} {second}" for first in ("lease", "gradient", "cluster") for second in ("bank", "window")] * 3
    retriever = BankRetriever.open(bank.path, words=100)
    expected = [[event.id for event in bank.search(query, words=100, dated=True)] for query in queries]
    assert [ids(documents) for documents in retriever.batch(queries)] == expected
    fresh = BankRetriever.open(bank.path, words=100)
    assert [ids(documents) for documents in asyncio.run(fresh.abatch(queries))] == expected


def test_without_langchain_the_extra_is_named():
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "import mnemic, mnemic.adapters\n"
        "try:\n    from mnemic.adapters.langchain import BankRetriever\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'mnemic[langchain]'" in done.stdout, done.stderr
    assert "mnemic.adapters.langchain cannot be used" in done.stdout and "langchain_core" in done.stdout
