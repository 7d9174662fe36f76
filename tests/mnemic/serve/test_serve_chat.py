"""Chat completions by OpenAI's own client: the recipe's model with the memories that a caller may have."""

import time

import httpx
import openai
import pytest
from served_bank import TOKENS, served

import mnemic
from mnemic import languagemodel
from mnemic.mixture import WEIGHT_WITHOUT_VALIDATION
from mnemic.serve.allowed import AllowedMemories, tenants_of
from mnemic.serve.speaker import _prompt

MESSAGES = [{"role": "system", "content": "Say it in words."}, {"role": "user", "content": "The lease of a table"}]
ALONE = "a-token-of-thirty-characters-01"


@pytest.fixture(scope="module")
def alone(tiny):
    """A server of a bank of one tenant, and OpenAI's client for it."""
    with served(tiny.recipe["bank"], token=ALONE) as running:
        yield openai.OpenAI(base_url=f"{running.address}/v1", api_key=ALONE, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def clients(server):
    return {
        tenant: openai.OpenAI(base_url=f"{server.address}/v1", api_key=token, max_retries=0, timeout=60)
        for tenant, token in TOKENS.items()
    }


def answer(client, model="mnemic", tokens=12, **settings):
    return client.chat.completions.create(
        model=model, messages=MESSAGES, max_tokens=tokens, **{"temperature": 0, **settings}
    )


def generated(bank, tokens=12, **attached):
    """What the model says after the same prompt, by transformers alone."""
    model, tokenizer = languagemodel.load(bank.release.recipe["language_model"])
    if attached:
        bank.attach(model, tokenizer=tokenizer, **attached)
    ids = _prompt(tokenizer, [(message["role"], message["content"]) for message in MESSAGES])
    output = model.generate(ids, attention_mask=ids.new_ones(ids.shape), max_new_tokens=tokens, do_sample=False)
    text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
    return text.partition("\nuser:")[0]


def test_an_answer_is_the_models_with_the_memory_attached(alone, tiny):
    names = [model.id for model in alone.models.list()]
    assert names == ["mnemic", "language-model", "language-model+mlp", "language-model+knn"]
    assert alone.models.retrieve("language-model+mlp").id == "language-model+mlp"
    plain, whole = answer(alone, "language-model"), answer(alone)
    assert plain.choices[0].message.content == generated(tiny.open())
    assert whole.choices[0].message.content == generated(tiny.open(), memory="mlp")
    assert whole.choices[0].message.content != plain.choices[0].message.content, "the memory has a say"
    assert whole.mnemic == {"release": tiny.open().release.name, "memories": ["mlp"]}
    assert answer(alone, "language-model").choices[0].message.content == plain.choices[0].message.content


def test_a_stream_is_the_same_answer_in_pieces(alone):
    whole = answer(alone, tokens=24)
    stream = answer(alone, tokens=24, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 5
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage and whole.usage.completion_tokens <= 24
    assert len({chunk.id for chunk in chunks}) == 1


def test_an_answer_ends_at_a_stop_and_a_seed_repeats_it(alone):
    text = answer(alone, tokens=24).choices[0].message.content
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    ended = answer(alone, tokens=24, stop=[stop])
    assert ended.choices[0].message.content == text[: text.find(stop)] and ended.choices[0].finish_reason == "stop"
    drawn = [answer(alone, tokens=20, temperature=1.5, seed=seed).choices[0].message.content for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_nothing_is_generated_for_a_client_that_has_left(alone):
    started = time.monotonic()
    first = answer(alone, tokens=150, stream=True)
    next(iter(first))
    first.close()
    answer(alone, tokens=1)
    early = time.monotonic() - started
    started = time.monotonic()
    answer(alone, tokens=150)
    assert early < (time.monotonic() - started) / 2 + 1


def test_a_tenant_gets_what_is_of_its_documents_alone(clients, two_tenants, tiny):
    bank = mnemic.open_bank(two_tenants)
    assert tenants_of(bank) == ["north", "south"]
    for tenant, client in clients.items():
        assert AllowedMemories.of(bank, tenant) == AllowedMemories((), ("suffix",), ("mlp", "knn"), False)
        assert [model.id for model in client.models.list()] == ["mnemic", "language-model", "language-model+suffix"]
        narrowed = {"memory": "suffix", "weight": WEIGHT_WITHOUT_VALIDATION, "where": {"tenant": tenant}}
        assert answer(client).choices[0].message.content == generated(bank, **narrowed)
        for memory in ("mlp", "knn", "suffix+mlp"):
            with pytest.raises(openai.PermissionDeniedError, match="its weights hold the text of all"):
                answer(client, f"language-model+{memory}")
    assert AllowedMemories.of(tiny.open(), "").names == ("mlp", "knn")
    assert AllowedMemories.of(tiny.open(), "nobody").names == ()


def test_trained_memories_are_a_tenants_where_others_trained_nothing(two_tenants, monkeypatch):
    """As if the documents of the other tenant had been chosen by no split and scored by no model."""
    bank = mnemic.open_bank(two_tenants)
    north = set(bank.table("documents", ["id"], {"tenant": "north"})["id"].to_pylist())
    table = bank.table

    def without_south(dataset, columns=None, where=None):
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = table(dataset, columns, where)
        if dataset == "datastore":
            return rows.filter(pc.is_in(rows["document"], value_set=pa.array(sorted(north))))
        if dataset == "documents" and "split" in rows.schema.names:
            mine = pc.equal(rows["tenant"], "north")
            return rows.set_column(rows.schema.get_field_index("split"), "split", pc.if_else(mine, rows["split"], ""))
        return rows

    monkeypatch.setattr(bank, "table", without_south)
    assert AllowedMemories.of(bank, "north") == AllowedMemories(("mlp", "knn"), ("suffix",), (), False)
    assert AllowedMemories.of(bank, "south") == AllowedMemories((), ("suffix",), ("mlp", "knn"), False)
    monkeypatch.setattr(bank, "stale", lambda: {"mlp": object()})
    assert AllowedMemories.of(bank, "north").others == ("mlp",), "nobody knows whose it has learnt"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"model": "gpt-9"}, 404, "There is no model 'gpt-9'"),
        ({"model": "language-model+secret"}, 404, "There is no memory 'secret'"),
        ({"n": 2}, 400, "n: "),
        ({"tools": []}, 400, "'tools' is no argument"),
        ({"messages": []}, 400, "messages: "),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "word " * 2000}]}, 400, "send fewer"),
        ({"max_tokens": 10**9}, 400, "max_tokens: "),
        ({"temperature": -1}, 400, "temperature: "),
    ],
)
def test_a_chat_that_cannot_be_is_refused_with_a_sentence(server, change, status, sentence):
    body = {"model": "mnemic", "messages": MESSAGES, "max_tokens": 4, **change}
    headers = {"Authorization": f"Bearer {TOKENS['north']}"}
    for more in ({}, {"stream": True}):
        reply = httpx.post(f"{server.address}/v1/chat/completions", json=body | more, headers=headers, timeout=60)
        assert reply.status_code == status and sentence in reply.json()["error"]["message"]
