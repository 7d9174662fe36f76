"""What a person sees: Chromium opens the page of a run and those of its artifacts.

With MNEMIC_PICTURES=FOLDER in the environment the pictures are kept there.
"""

import os
from pathlib import Path

import pictures
import pytest
from tiny_bank import tiny_recipe, write_corpus

from flows.build import build_bank

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not pictures.available(), reason="apt-get install chromium chromium-driver"),
]
HOSTILE = "bank <img src=x onerror=alert(1)> *of* `notes` [a](javascript:b)"


def test_the_pages_show_the_steps_and_the_release_as_they_are(server, client, tmp_path):
    recipe = tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus"), bank=str(tmp_path / HOSTILE))
    run = build_bank(recipe, return_state=True).state_details.flow_run_id
    shown = pictures.take(server.url, str(run), Path(os.environ.get("MNEMIC_PICTURES", tmp_path / "pictures")))

    assert "Completed" in shown["run-logs"]
    assert "12 Task runs" in shown["run-logs"]
    assert "left out: delta/broken.txt" in shown["run-logs"]
    assert "step-embed-tiny" in shown["run-artifacts"]
    assert "338 rows in" in shown["run-artifacts"]
    assert "Progress: 100%" in shown["step-embed-tiny"]
    assert "datastore\n" in shown["steps-tiny"]
    for words in ("Release 20", "near duplicates", "operator version", HOSTILE, f"open_bank('{tmp_path / HOSTILE}'"):
        assert words.replace("`", r"\x60") in shown["release-tiny"] or words in shown["release-tiny"]
