"""Training of memory tokens: greedy decoding gives the text back, or the row says that it does not."""

import pytest
import torch
from tiny_models import save_tiny_model

from mnemic import languagemodel
from mnemic.errors import RecipeError
from mnemic.latents.rebuild import decoded, entering, hash_of_ids
from operators.latents.memory_tokens import TrainMemoryTokens
from operators.latents.settings import LatentText
from operators.latents.token_student import TokenStudent
from operators.train.loss import head_loss

TEXT = LatentText("text", (40, 7, 251), "hash of the text")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def loaded(request, tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("model"), request.param), "float32")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return languagemodel.load(save_tiny_model(tmp_path_factory.mktemp("llama")), "float32")


def settings(**changes):
    return TrainMemoryTokens(**{"steps": 60, "epochs": 20, "tokens_a_vector": 1, "dtype": "float32", **changes})


def trained(loaded, own, text=TEXT, state=None):
    results = []
    while not results or results[-1].row is None:
        results.append(own.trainer(*loaded).epoch(text, state, lambda done, total: None))
        state = results[-1].checkpoint.state
    return results


def test_exact_vectors_give_the_text_back_by_generate_too(llama):
    model, _ = llama
    results = trained(llama, settings())
    row = results[-1].row
    assert row["exact"] and row["right"] == len(TEXT.ids) and row["dtypes"] == ["float32"]
    assert row["ids"] == hash_of_ids(list(TEXT.ids)) and row["steps"] == 60 * len(results)
    vectors = torch.frombuffer(bytearray(row["embedding"]), dtype=torch.float32).reshape(row["vectors"], -1)
    begin = settings().trainer(*llama).begin
    assert decoded(model, begin, vectors, len(TEXT.ids)) == list(TEXT.ids)
    inputs = entering(model, begin, vectors, torch.zeros(0, dtype=torch.int64))
    written = model.generate(
        inputs_embeds=inputs,
        attention_mask=torch.ones(inputs.shape[:2], dtype=torch.int64),
        max_new_tokens=len(TEXT.ids),
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    assert written[0].tolist() == list(TEXT.ids)


def test_the_loss_is_that_of_the_tokens_behind_the_vectors(loaded):
    model, tokenizer = loaded
    trainer = settings().trainer(model, tokenizer)
    memory = trainer.opened(TEXT)
    student = TokenStudent(model, memory, torch.tensor(TEXT.ids), trainer.begin, 3)
    ((inputs, labels),) = student.passes(student.batches(torch.arange(3).numpy(), 1)[0])
    loss, _ = head_loss(student.trunk(inputs), memory.head.weight, labels.ids, labels.target)
    with torch.inference_mode():
        whole = entering(model.double(), trainer.begin, memory.vectors, inputs[:-1])
        logs = torch.log_softmax(model(inputs_embeds=whole).logits[0, -len(TEXT.ids) :], -1)
    model.float()
    assert float(loss) == pytest.approx(-float(logs.gather(1, inputs[:, None]).mean()), abs=1e-4)


def test_a_text_that_does_not_come_back_is_flagged(loaded):
    text = LatentText("long", tuple(range(30, 110)), "another hash")
    row = trained(loaded, settings(steps=2, epochs=2, tokens_a_vector=80))[-1].row
    assert row["vectors"] == 1
    row = trained(loaded, settings(steps=2, epochs=2, tokens_a_vector=80, max_tokens=100), text)[-1].row
    assert not row["exact"] and row["right"] < 80 and row["steps"] == 4


def test_a_training_that_was_broken_off_ends_with_the_same_bytes(loaded):
    own = settings(steps=5, epochs=4, learning_rate=0.01)
    whole = trained(loaded, own)
    again = trained(loaded, own, state=whole[0].checkpoint.state)
    assert again[-1].row == whole[-1].row and again[-1].checkpoint.state == whole[-1].checkpoint.state


def test_settings_that_cannot_be_are_sentences():
    for name, value in {"steps": 0, "epochs": 0, "tokens_a_vector": 0, "min_tokens": 0, "max_tokens": 1}.items():
        with pytest.raises(RecipeError, match=r"memory tokens' .* is .*give"):
            settings(**{name: value})
