"""Names of the upper floors: loaded when they are used, and explained where they cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TWINS = {
    "build": "import mnemic; mnemic.build('none.yaml')",
    "plan": "import mnemic; mnemic.plan('none.yaml')",
    "evaluate": "import mnemic; mnemic.evaluate('none')",
    "the command": "from mnemic.command import main; sys.exit(main(['plan', 'none.yaml']))",
}
ASIDE = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
"""Without the finder of an editable install, which rescues submodules of foreign packages and no wheel has."""


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = f"sys.path[1:1] = [{str(ROOT)!r}]; "
    return subprocess.run(
        [sys.executable, "-c", ASIDE + path + code], cwd=cwd, capture_output=True, text=True, check=False
    )


CONTENTS = ("raise RuntimeError('a module of somebody')", "import kedro_is_not_here")


@pytest.mark.parametrize("folder", ["pipelines", "operators"])
@pytest.mark.parametrize(
    ("twin", "content"), [*((twin, "") for twin in TWINS), *(("plan", content) for content in CONTENTS)]
)
def test_a_users_folder_that_hides_ours_is_told_in_a_sentence(tmp_path, twin, folder, content):
    """The same sentence from the command and from its twins, whatever stands in the folder."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "__init__.py").write_text(content)
    done = run_python(TWINS[twin], tmp_path)
    assert f"{tmp_path / folder} hides mnemic's own package of the name '{folder}'" in done.stderr.replace("\n", " ")
    assert "Start Python from another folder, or rename that one." in done.stderr
    assert "pip install" not in done.stderr and done.returncode == (11 if twin == "the command" else 1)


@pytest.mark.parametrize("submodule", ["api", "command"])
def test_a_users_folder_with_modules_of_our_names_is_told_too(tmp_path, submodule):
    (tmp_path / "pipelines").mkdir()
    for name in ("__init__", submodule):
        (tmp_path / "pipelines" / f"{name}.py").write_text("")
    done = run_python(TWINS["plan" if submodule == "api" else "the command"], tmp_path)
    assert "hides mnemic's own package" in done.stderr


def test_a_users_file_hides_ours_as_well(tmp_path):
    (tmp_path / "operators.py").write_text("")
    assert f"{tmp_path / 'operators.py'} hides mnemic's own" in run_python(TWINS["plan"], tmp_path).stderr


def test_a_folder_called_flows_is_in_nobodys_way(tmp_path):
    """No name of `mnemic` comes from our `flows`; where something asks for that floor, the sentence is there."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "__init__.py").write_text("")
    assert "There is no recipe" in run_python(TWINS["plan"], tmp_path).stderr
    code = "from mnemic.floors import load_floor; load_floor('flows.build', 'this')"
    assert f"{tmp_path / 'flows'} hides mnemic's own" in run_python(code, tmp_path).stderr


def test_a_package_that_is_not_installed_is_named_with_its_extra(tmp_path):
    missing = "sys.modules['pydantic'] = None; "
    for twin in ("plan", "the command"):
        done = run_python(missing + TWINS[twin], tmp_path)
        assert "needs pydantic, which is not installed" in done.stderr and "mnemic[pipeline]" in done.stderr


def test_streams_and_contracts_are_hidden_by_a_folder_called_operators(tmp_path):
    (tmp_path / "operators").mkdir()
    (tmp_path / "operators" / "__init__.py").write_text("")
    for code in ("import mnemic; mnemic.segment.Stream", "from mnemic.contracts import RowOperator"):
        assert "hides mnemic's own package" in run_python(code, tmp_path).stderr
