"""A bank as a retriever of LlamaIndex: the same events as a search, in a query engine, in threads, and without it."""

import asyncio
import json
import subprocess
import sys

import pytest

from mnemic.errors import QueryError

pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed (extra `llama-index`)")

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import MetadataMode, NodeRelationship, ObjectType, QueryBundle

from mnemic.adapters.llama_index import BankRetriever

QUERY = "table index version"


@pytest.fixture(scope="module")
def bank(tiny):
    return tiny.open()


def ids(nodes):
    return [node.node_id for node in nodes]


def test_nodes_are_what_a_search_finds(bank):
    nodes = BankRetriever(bank, words=120).retrieve(QUERY)
    hits = bank.search(QUERY, words=120)
    assert nodes and ids(nodes) == [event.id for event in hits]
    for node, event in zip(nodes, hits, strict=True):
        assert (node.text, node.score) == (event.text, event.score)
        assert (node.node.start_char_idx, node.node.end_char_idx) == (event.start, event.end)
        assert node.node.ref_doc_id == event.document
        origin = node.node.relationships[NodeRelationship.SOURCE]
        assert origin.node_type == ObjectType.DOCUMENT and origin.metadata["locator"] == event.locator
        assert node.metadata["reason"] == event.reason


def test_metadata_is_json(bank):
    nodes = BankRetriever(bank, words=None, k=50).retrieve("lease of a bank")
    metadata = [json.loads(json.dumps(node.metadata, allow_nan=False)) for node in nodes]
    assert metadata == [node.metadata for node in nodes]
    (lease,) = [row for row in metadata if row["locator"].startswith("notes.jsonl")]
    assert lease["time"] == "2026-01-02T03:04:05+00:00"


def test_a_model_reads_the_text_and_the_metadata_that_is_to_be_shown(bank):
    (bare,) = BankRetriever(bank, words=None, k=1).retrieve(QUERY)
    assert bare.get_content(MetadataMode.LLM) == bare.get_content(MetadataMode.EMBED) == bare.text
    (shown,) = BankRetriever(bank, words=None, k=1, shown=("locator",)).retrieve(QUERY)
    read = shown.get_content(MetadataMode.LLM)
    assert read.startswith(f"locator: {shown.metadata['locator']}") and read.endswith(shown.text)
    with pytest.raises(QueryError, match="no metadata 'path'"):
        BankRetriever(bank, shown=("locator", "path"))


def test_a_retriever_is_opened_from_a_path_with_any_setting_of_a_search(bank):
    settings = {"words": 90, "level": "passage", "where": {"collection": "alpha"}, "fit": "nearest", "contiguity": 0.3}
    nodes = BankRetriever.open(bank.path, **settings).retrieve(QUERY)
    assert nodes and ids(nodes) == [event.id for event in bank.search(QUERY, **settings)]
    assert {node.metadata["collection"] for node in nodes} == {"alpha"}
    assert {node.metadata["level"] for node in nodes} == {"passage"}
    assert ids(BankRetriever(bank, tokens=60).retrieve(QUERY)) == [event.id for event in bank.search(QUERY, tokens=60)]
    with pytest.raises(TypeError, match="'word'"):
        BankRetriever.open(bank.path, word=200)
    with pytest.raises(QueryError, match="did you mean 'speaker'"):
        BankRetriever(bank, where={"speakers": "Ada"}).retrieve(QUERY)


def test_reading_order_or_best_first(bank):
    read = BankRetriever(bank, words=None, k=20).retrieve(QUERY)
    ranked = BankRetriever(bank, words=None, k=20, best_first=True).retrieve(QUERY)
    scores = [node.score for node in ranked]
    assert scores == sorted(scores, reverse=True)
    assert ids(read) != ids(ranked) and set(ids(read)) == set(ids(ranked))


def test_vectors_of_other_models_are_not_used(bank):
    retriever = BankRetriever(bank, words=120)
    bundle = QueryBundle(QUERY, embedding=[1.0, 0.0, 0.0])
    assert ids(retriever.retrieve(bundle)) == ids(retriever.retrieve(QUERY))


def test_many_at_once_find_the_same_as_one_by_one(bank):
    queries = [f"{first} {second}" for first in ("lease", "gradient", "cluster") for second in ("bank", "window")] * 3
    retriever = BankRetriever.open(bank.path, words=100)

    async def all_of_them():
        return await asyncio.gather(*(retriever.aretrieve(query) for query in queries))

    expected = [[event.id for event in bank.search(query, words=100, dated=True)] for query in queries]
    assert [ids(nodes) for nodes in asyncio.run(all_of_them())] == expected


def test_in_a_query_engine(bank):
    retriever = BankRetriever(bank, words=80)
    engine = RetrieverQueryEngine(retriever, get_response_synthesizer(llm=MockLLM()))
    answer = engine.query(QUERY)
    assert ids(answer.source_nodes) == [event.id for event in bank.search(QUERY, words=80)]
    assert all(node.text in str(answer) for node in answer.source_nodes), "the model repeats its prompt"


def test_without_llama_index_the_extra_is_named():
    code = (
        "import sys; sys.modules['llama_index'] = None\n"
        "import mnemic, mnemic.adapters\n"
        "try:\n    from mnemic.adapters.llama_index import BankRetriever\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'mnemic[llama-index]'" in done.stdout, done.stderr
    assert "mnemic.adapters.llama_index cannot be used" in done.stdout and "llama_index" in done.stdout
