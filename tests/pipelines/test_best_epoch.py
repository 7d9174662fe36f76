"""The memory of a bank is its best epoch, also where the training was interrupted after it."""

import pytest

import mnemic
from operators.train import loop as training


@pytest.fixture
def build(tiny, tmp_path, monkeypatch):
    """Train the memory of a copy of the tiny bank, whose epochs have these perplexities; None interrupts it."""

    def built(name, *perplexities):
        scores = iter(perplexities)

        def validate(*_):
            score = next(scores)
            if score is None:
                raise KeyboardInterrupt
            return {"weight": 0.25, "validation_perplexity": score, "validation_base_perplexity": 9.0}

        monkeypatch.setattr(training, "validate", validate)
        recipe = {**tiny.recipe, "bank": str(tmp_path / name / "bank")}
        if not (tmp_path / name).exists():
            tiny.copy(tmp_path / name)
        recipe["imitate"] = {**recipe["imitate"], "epochs": 9, "patience": 3}
        mnemic.build(recipe, device="cpu")
        assert next(scores, "all") == "all"
        return mnemic.open_bank(recipe["bank"])

    return built


def test_the_best_epoch_remains_whenever_the_training_was_interrupted(build):
    whole = build("whole", 5.0, 3.0, 4.0, 4.0, 3.5)  # three epochs after the best one it ends
    assert whole.memory_info().metrics["validation_perplexity"] == 3.0
    assert whole.dataset("memories").count() == 1
    with pytest.raises(KeyboardInterrupt):
        build("parts", 5.0, 3.0, 4.0, 4.0, None)  # the best is no longer among the last two
    assert build("parts", 3.5).digest() == whole.digest()
