"""Keys and values before the prompt, against the model that reads the text itself."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.attach import Host, Prefix, Prompt, attach, read_prefix
from mnemic.attach.reading import captured, capturing
from mnemic.attach.rotation import Rotation
from mnemic.errors import ModelError
from mnemic.memories.decoder import DecoderConfig, MemoryDecoder

GREEDY = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 5}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
KINDS = [
    {},
    {"use_cache": False},
    {"num_beams": 3, "num_return_sequences": 2},
    {"cache_implementation": "static", "disable_compile": True},
]


def generated(model: Any, prompts: torch.Tensor, **options: Any) -> torch.Tensor:
    mask = options.pop("attention_mask", torch.ones_like(prompts))
    return model.generate(prompts, attention_mask=mask, **{**GREEDY, **options})[:, prompts.shape[1] :]


def logits(model: Any, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **options).logits


def joined(text: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    return torch.cat([text.expand(len(prompts), -1), prompts], dim=1)


def put(host: Host, prefix: Prefix) -> Any:
    return host.prefix(prefix.keys, prefix.values, mask=prefix.mask, places=prefix.places, length=prefix.length)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_prefix_of_a_text_is_the_text(
    host: Host, prompts: torch.Tensor, text: torch.Tensor, options: dict[str, Any]
) -> None:
    model, whole = host.model, joined(text, prompts)
    expected = logits(model, whole)[:, text.shape[1] :]
    continued = generated(model, whole, **options)
    put(host, read_prefix(model, text))
    torch.testing.assert_close(logits(model, prompts), expected, atol=1e-4, rtol=0.0)
    torch.testing.assert_close(logits(model, prompts, use_cache=False), expected, atol=1e-4, rtol=0.0)
    assert torch.equal(generated(model, prompts, **options), continued)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_at_its_place_the_prefix_is_the_live_cache_bit_for_bit(
    family: tuple[Any, Any], prompts: torch.Tensor, text: torch.Tensor, dtype: torch.dtype
) -> None:
    model = copy.deepcopy(family[0])
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    with torch.no_grad():
        live = model(input_ids=text).past_key_values
        expected = model(input_ids=prompts[:1], past_key_values=live).logits
    host = Host.of(model)
    prefix = read_prefix(model, text)
    put(host, prefix)
    assert torch.equal(logits(model, prompts[:1]), expected) and prefix.keys[0].dtype == dtype


def test_what_another_thread_reads_meanwhile_is_no_part_of_the_prefix(host: Host, text: torch.Tensor) -> None:
    model, expected = host.model, read_prefix(host.model, text)
    with capturing(Rotation(model)) as captures, ThreadPoolExecutor(1) as pool:
        logits(model, text)
        pool.submit(logits, model, text.flip(1)).result()
    keys, values = captured(captures)
    assert all(map(torch.equal, keys, expected.keys)) and all(map(torch.equal, values, expected.values))


def test_rows_with_prefixes_and_prompts_of_different_length_are_as_each_alone(
    host: Host, prompts: torch.Tensor, text: torch.Tensor
) -> None:
    model = host.model
    texts = torch.cat([torch.nn.functional.pad(text[:, :4], (3, 0)), text.flip(1)])
    shown = torch.ones_like(texts)
    shown[0, :3] = 0
    prefix = read_prefix(model, texts, shown)
    padded, mask = prompts.clone(), torch.ones_like(prompts)
    mask[1, :4] = 0
    wholes = [torch.cat([text[:, :4], prompts[:1]], 1), torch.cat([text.flip(1), prompts[1:, 4:]], 1)]
    alone = [logits(model, whole)[:, -5:] for whole in wholes]
    continued = [[generated(model, whole, **options) for whole in wholes] for options in KINDS]
    put(host, prefix)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    together = logits(model, padded, attention_mask=mask, position_ids=positions)[:, -5:]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0.0)
    for options, parts in zip(KINDS, continued, strict=True):
        assert torch.equal(generated(model, padded, attention_mask=mask, **options), torch.cat(parts))
    with pytest.raises(ModelError, match="for 2 rows of a batch, and this prompt has 4"):
        logits(model, prompts.repeat(2, 1))


def test_one_prefix_stands_behind_another(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    model, whole = host.model, joined(torch.cat([text, text.flip(1)], 1), prompts)
    expected, continued = logits(model, whole)[:, 2 * text.shape[1] :], generated(model, whole)
    first = logits(model, joined(text, prompts))[:, text.shape[1] :]
    put(host, read_prefix(model, text))
    behind = read_prefix(model, text.flip(1))
    entry = put(host, behind)
    torch.testing.assert_close(logits(model, prompts), expected, atol=1e-4, rtol=0.0)
    assert torch.equal(generated(model, prompts), continued)
    entry.close()
    torch.testing.assert_close(logits(model, prompts), first, atol=1e-4, rtol=0.0)


def test_a_sparse_prefix_is_the_whole_one_with_the_rest_masked(
    host: Host, prompts: torch.Tensor, text: torch.Tensor
) -> None:
    model, sparse = host.model, torch.tensor([0, 1, 4, 5])
    prefix = read_prefix(model, text)
    mask = torch.zeros(1, text.shape[1])
    mask[:, sparse] = 1
    whole = Prefix(prefix.keys, prefix.values, mask, torch.arange(7)[None], torch.tensor([7]))
    with put(host, whole):
        expected, continued = logits(model, prompts), generated(model, prompts)
    keys, values = ([part[:, :, sparse] for part in parts] for parts in (prefix.keys, prefix.values))
    heads = keys[0].shape[1]
    for places in (sparse[None], sparse.expand(len(keys), 1, heads, -1)):
        with put(host, Prefix(keys, values, None, places, torch.tensor([7]))):
            torch.testing.assert_close(logits(model, prompts), expected, atol=1e-5, rtol=0.0)
            assert torch.equal(generated(model, prompts), continued)


def test_a_prefix_is_chosen_once_for_a_prompt(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    model, prompted = host.model, list[list[list[int]]]()
    both = list(zip(prompts, (text, text.flip(1)), strict=True))
    prefixes = {int(row[0]): read_prefix(model, piece) for row, piece in both}
    wholes = [torch.cat([piece, row[None]], 1) for row, piece in both]
    expected = torch.cat([generated(model, whole) for whole in wholes])

    def choose(prompt: Prompt) -> Prefix | None:
        prompted.append([row.tolist() for row in prompt.rows()])
        chosen = [prefixes[int(row[0])] for row in prompt.rows() if int(row[0]) in prefixes]
        if not chosen:
            return None
        columns = [one.keys for one in chosen], [one.values for one in chosen]
        return Prefix(*([torch.cat(layer) for layer in zip(*column, strict=True)] for column in columns))

    bare = logits(model, prompts[:, 1:])
    host.prefix_of(choose)
    for cache in (True, False):
        assert torch.equal(generated(model, prompts, use_cache=cache), expected)
    assert prompted == [prompts.tolist()] * 2
    if not {int(row[1]) for row in prompts} & set(prefixes):
        assert torch.equal(logits(model, prompts[:, 1:]), bare)
    host.context(lambda ids: text[0, :2])
    generated(model, prompts)
    assert prompted[-1] == prompts.tolist(), "it is chosen for the caller's prompt, without a context"


def test_the_models_own_cache_holds_the_text_alone(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    model = host.model
    bare = model(input_ids=prompts).past_key_values
    expected = logits(model, joined(text, prompts))[:, text.shape[1] :]
    entry = put(host, read_prefix(model, text))
    with torch.no_grad():
        begun = model(input_ids=prompts[:, :4])
        cache = begun.past_key_values
        assert type(cache) is type(bare) and cache.get_seq_length() == 4
        other, third = copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))
        for one in (cache, other, third):
            rest = model(input_ids=prompts[:, 4:], past_key_values=one).logits
            torch.testing.assert_close(rest, expected[:, 4:], atol=1e-4, rtol=0.0)
        cache.crop(-3)
        again = model(input_ids=prompts[:, -3:], past_key_values=cache).logits
        torch.testing.assert_close(again, expected[:, -3:], atol=1e-4, rtol=0.0)
        other.batch_select_indices(torch.tensor([1]))
        other.crop(-3)
        again = model(input_ids=prompts[1:, -3:], past_key_values=other).logits
        torch.testing.assert_close(again, expected[1:, -3:], atol=1e-4, rtol=0.0)
        with pytest.raises(ModelError, match=r"filled behind other prefixes.*begin with an empty cache"):
            model(input_ids=prompts[:, :2], past_key_values=bare)
        entry.close()
        put(host, read_prefix(model, text))
        with pytest.raises(ModelError, match="filled behind other prefixes"):
            model(input_ids=prompts[:, :2], past_key_values=third)


def test_tuples_labels_and_prepared_masks(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    model = host.model
    put(host, read_prefix(model, text))
    with torch.no_grad():
        whole = model(input_ids=prompts, labels=prompts)
        loss, scores, cache = model(prompts, labels=prompts, return_dict=False)
        assert torch.equal(loss, whole.loss) and torch.equal(scores, whole.logits) and cache.get_seq_length() == 9
        assert len(model(input_ids=prompts, use_cache=False, return_dict=False)) == 1
        assert model(input_ids=prompts, use_cache=False).past_key_values is None
        causal = torch.ones(9, 9, dtype=torch.bool).tril().expand(2, 1, -1, -1)
        torch.testing.assert_close(model(input_ids=prompts, attention_mask=causal).logits, whole.logits)
        added = torch.zeros(causal.shape).masked_fill(~causal, torch.finfo(torch.float32).min)
        torch.testing.assert_close(model(input_ids=prompts, attention_mask=added).logits, whole.logits)
        embedded = model.get_input_embeddings()(prompts)
        torch.testing.assert_close(model(inputs_embeds=embedded).logits, whole.logits)
        with pytest.raises(ModelError, match="needs an attention mask"):
            model(input_ids=prompts, attention_mask=causal[:, 0])
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(input_ids=prompts).logits, whole.logits, atol=1e-4, rtol=0.0)
        model.set_attn_implementation("sdpa")


def test_drafts_are_taken_back_behind_a_prefix(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    put(host, read_prefix(host.model, text))
    expected = generated(host.model, prompts[:1], max_new_tokens=12)
    drafted = {"prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 1, "max_new_tokens": 12}
    assert torch.equal(generated(host.model, prompts[:1], **drafted), expected)


def test_a_decoder_beside_a_prefix_reads_the_prompt(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    tokens = torch.tensor([3, 17, 60, 61, 200, 319])
    torch.manual_seed(5)
    decoder = MemoryDecoder(DecoderConfig(320, 32, 6, blocks=2, inner=48, heads=4, key_value_heads=2), tokens).eval()
    with torch.no_grad():
        memory = torch.zeros(2, 9, 320)
        memory[..., tokens] = decoder(prompts).exp()
        base = torch.softmax(logits(host.model, joined(text, prompts))[:, text.shape[1] :], -1)
    put(host, read_prefix(host.model, text))
    attach(host.model, decoder, 0.4, languagemodel.lock(host.model))
    torch.testing.assert_close(logits(host.model, prompts).exp(), 0.6 * base + 0.4 * memory, atol=1e-5, rtol=0.0)
    assert torch.equal(generated(host.model, prompts), generated(host.model, prompts, use_cache=False))


@pytest.mark.parametrize(
    "kind, options, sentence",
    [
        ("mistral", {"sliding_window": 8}, r"sliding windows forget.*use a model with full attention"),
        ("gemma2", {}, "sliding windows forget"),
        ("gemma3_text", {}, "sliding windows forget"),
        (
            "llama",
            {"rope_parameters": DYNAMIC},
            "depend on the length",
        ),
    ],
)
def test_keys_that_are_not_understood_are_refused_with_a_sentence(
    tmp_path: Path, kind: str, options: dict[str, Any], sentence: str
) -> None:
    model, _ = languagemodel.load(save_tiny_model(tmp_path, kind, **options), "float32")
    keys = [torch.zeros(1, 2, 3, 8)] * 4
    with pytest.raises(ModelError, match=sentence):
        Host.of(model).prefix(keys, keys)
    with pytest.raises(ModelError, match=sentence):
        read_prefix(model, torch.tensor([[1, 2]]))
    assert Host.of(model).idle


def test_prefixes_that_do_not_fit_are_refused_with_a_sentence(host: Host, text: torch.Tensor) -> None:
    prefix = read_prefix(host.model, text)
    with pytest.raises(ModelError, match=r"all 4 layers.*got 3 and 4"):
        host.prefix(prefix.keys[:3], prefix.values)
    with pytest.raises(ModelError, match="of one shape"):
        host.prefix(prefix.keys, [value[:, :, 1:] for value in prefix.values])
    stacked = host.prefix(torch.stack(list(prefix.keys)), torch.stack(list(prefix.values)))
    assert host.model(input_ids=text).logits.shape[:2] == text.shape
    stacked.close()
    if host.model.config.model_type == "gpt2":
        put(host, Prefix(prefix.keys, prefix.values, None, None, torch.tensor([510])))
        with pytest.raises(ModelError, match="take up 517 positions, and the model has 512"):
            host.model(input_ids=text)


def test_a_prefix_can_be_trained_in_the_model(host: Host, prompts: torch.Tensor, text: torch.Tensor) -> None:
    """As cartridges are: the loss has gradients with respect to keys and values, in every pass anew."""
    prefix = read_prefix(host.model, text)
    trained = [[part.clone().requires_grad_() for part in parts] for parts in (prefix.keys, prefix.values)]
    host.prefix(*trained)
    losses = []
    for _ in range(3):
        loss = host.model(input_ids=prompts, labels=prompts, use_cache=False).loss
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for part in (part for parts in trained for part in parts):
                part.add_(part.grad, alpha=-0.3)
                part.grad = None
    assert losses[2] < losses[1] < losses[0]


def test_prefixes_of_two_hosts_are_told_apart(
    family: tuple[Any, Any], prompts: torch.Tensor, text: torch.Tensor
) -> None:
    model = family[0]
    put(Host.of(model), read_prefix(model, text))
    cache = model(input_ids=prompts[:, :4]).past_key_values
    Host.of(model).close()
    put(Host.of(model), read_prefix(model, text.flip(1)))
    with pytest.raises(ModelError, match="filled behind other prefixes"):
        model(input_ids=prompts[:, 4:], past_key_values=cache)
    Host.of(model).close()


def test_plain_mistral_is_understood(tmp_path: Path) -> None:
    model, tokenizer = languagemodel.load(save_tiny_model(tmp_path, "mistral", sliding_window=None), "float32")
    text, prompts = (torch.tensor([tokenizer(SENTENCES[number])["input_ids"][:9]]) for number in (2, 0))
    expected = logits(model, joined(text, prompts))[:, 9:]
    put(Host.of(model), read_prefix(model, text))
    torch.testing.assert_close(logits(model, prompts), expected, atol=1e-4, rtol=0.0)
