"""What memories save on removed documents is compared with twins that they never saw."""

import json

import numpy as np
import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import BankError
from pipelines.evaluate.forgotten import DocumentGains, _compared, forgotten, twins_of


def gains(draw, count, saved):
    tokens = draw.integers(50, 200, count).astype(np.float64)
    level = draw.normal(3.0, 0.5, count)
    return DocumentGains(tokens, tokens * level, tokens * (saved + draw.normal(0, 0.05, count)))


@pytest.mark.parametrize("others", [7, 12, 40])
def test_a_twin_has_the_nearest_loss_of_those_that_are_free(others):
    draw = np.random.default_rng(others)
    removed, held_out = gains(draw, 12, 0.0), gains(draw, others, 0.0)
    pairs = twins_of(removed, held_out)
    uses, levels = [0] * others, (held_out.base / held_out.tokens).tolist()
    for place in np.argsort(removed.base / removed.tokens, kind="stable").tolist():
        level = removed.base[place] / removed.tokens[place]
        free = [one for one in range(others) if uses[one] == min(uses)]
        twin = min(free, key=lambda one: (abs(levels[one] - level), one))
        uses[twin] += 1
        assert pairs["twin_gain"][place] == held_out.gain[twin]
    assert max(uses) == -(-12 // others) if others < 12 else max(uses) == 1


def test_the_interval_has_0_where_nothing_is_known_and_not_where_something_is():
    draw = np.random.default_rng(3)
    twins = gains(draw, 60, 0.1)
    unknown = _compared("mlp", twins_of(gains(draw, 40, 0.1), twins), stale=False)
    learnt = _compared("mlp", twins_of(gains(draw, 40, 0.3), twins), stale=True)
    assert unknown.covers_zero and abs(unknown.difference.value) < 0.05
    assert (
        not learnt.covers_zero
        and learnt.difference.low > 0.1
        and learnt.removed - learnt.twins == pytest.approx(learnt.difference.value)
    )


def test_a_stale_memory_saves_more_on_what_it_learnt(tiny, tmp_path, capsys):
    recipe = tiny.copy(tmp_path)
    with pytest.raises(BankError, match="no rows of removed documents"):
        forgotten(tiny.open())
    rows = tiny.open().table("documents", ["id"], "split = 'store'")["id"].to_pylist()
    mnemic.remove(recipe["bank"], ids=sorted(rows)[: len(rows) // 2])
    (stale,) = forgotten(mnemic.open_bank(recipe["bank"]))
    assert stale.stale and stale.documents == len(rows) // 2 and stale.difference.value > 0
    assert main(["eval", recipe["bank"], "--forgotten"]) == 0
    assert "stale: the next build trains it again" in capsys.readouterr().out
    mnemic.build(recipe, device="cpu")
    assert main(["eval", recipe["bank"], "--forgotten", "--json"]) == 0
    (after,) = json.loads(capsys.readouterr().out)
    assert not after["stale"] and after["difference"]["value"] < stale.difference.value
