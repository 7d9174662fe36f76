"""A bank whose newest versions cannot be read goes back, by itself or by `mnemic repair`, and is built again."""

import json
from pathlib import Path

import pytest

import mnemic
from mnemic.command import main
from mnemic.dataset import Store, commit
from mnemic.dataset.lease import Lease
from mnemic.dataset.write import append, write_rows
from mnemic.errors import BankError, BankInUse
from mnemic.repair import losses, repair
from mnemic.schema import DOCUMENTS, UNITS


@pytest.fixture
def recipe(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    return tiny.copy(tmp_path)


def lose_an_append(recipe, name, schema):
    """Commit rows and delete their file: a second builder took it for an orphan."""
    dataset = Store(recipe["bank"])[name]
    folder = Path(recipe["bank"], f"{name}.lance", "data")
    before = set(folder.iterdir())
    rows = dataset.require().table(schema.names).slice(0, 1)
    append(dataset, write_rows(dataset.uri, rows, schema), {"mnemic.step": "lost"})
    for file in set(folder.iterdir()) - before:
        file.unlink()


def largest(recipe, name):
    folder = Path(recipe["bank"], f"{name}.lance", "data")
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


def versions(recipe):
    store = Store(recipe["bank"])
    names = [path.stem for path in Path(recipe["bank"]).glob("*.lance") if path.stem != "leases"]
    return {name: store[name].require().version for name in names}


@pytest.mark.parametrize(("name", "schema"), [("documents", DOCUMENTS), ("units", UNITS)])
def test_a_build_goes_back_by_itself_where_no_release_loses_anything(recipe, tiny, name, schema):
    lose_an_append(recipe, name, schema)
    (loss,) = losses(Store(recipe["bank"]))
    assert (loss.dataset, loss.rows, loss.releases, loss.harmless) == (name, 1, (), True)
    assert mnemic.open_bank(recipe["bank"]).digest() == tiny.open().digest(), "the release is read as before"
    events = []
    mnemic.build(recipe, device="cpu", sinks=[events.append])
    (message,) = [event.message for event in events if event.kind == "repair"]
    assert f"repaired: {name}" in message and "1 rows less" in message
    assert mnemic.open_bank(recipe["bank"]).digest() == tiny.open().digest()
    assert not mnemic.build(recipe, device="cpu").steps, "nothing is left to do"


@pytest.mark.parametrize(
    "name", ["units", "memories", *(pytest.param(name, marks=pytest.mark.slow) for name in ("documents", "events"))]
)
def test_a_damaged_release_is_repaired_when_asked(recipe, tiny, name):
    release = tiny.open().release
    largest(recipe, name).unlink()
    before = versions(recipe)
    with pytest.raises(BankError, match=f"{name}: .* is missing.*release {release.name} are damaged.*`mnemic repair"):
        mnemic.build(recipe, device="cpu")
    assert versions(recipe) == before, "nothing was changed"
    (loss,) = repair(Store(recipe["bank"]), "run")
    assert loss.dataset == name and loss.releases == (release.name,)
    assert losses(Store(recipe["bank"])) == []
    mnemic.build(recipe, device="cpu")
    newest = mnemic.open_bank(recipe["bank"])
    assert newest.release.name != release.name and newest.digest() == tiny.open().digest()
    with pytest.raises(BankError, match="is there and cannot be read"):
        mnemic.open_bank(recipe["bank"], release.name).table(name)


LOST = [("documents", "garbage"), ("events", "gone")]
SLOW_LOST = [("documents", "gone"), ("events", "garbage")]


@pytest.mark.parametrize(("name", "how"), [*LOST, *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW_LOST)])
def test_a_pinned_version_never_becomes_another(recipe, tiny, name, how):
    release = tiny.open().release
    newest = min(Path(recipe["bank"], f"{name}.lance", "_versions").glob("*.manifest"))
    newest.unlink() if how == "gone" else newest.write_bytes(b"x" * 100)
    with pytest.raises(BankError, match="mnemic repair"):
        mnemic.build(recipe, device="cpu")
    repair(Store(recipe["bank"]), "run")
    assert Store(recipe["bank"])[name].require().version > release.versions[name]
    with pytest.raises(BankError):
        Store(recipe["bank"])[name].require(release.versions[name])
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == tiny.open().digest()
    with pytest.raises(BankError):
        mnemic.open_bank(recipe["bank"], release.name).dataset(name)


def test_flipped_bytes_are_gone_back_from_in_depth(recipe, tiny):
    file = largest(recipe, "units")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    assert losses(Store(recipe["bank"])) == []
    (loss,) = losses(Store(recipe["bank"]), deep=True)
    assert loss.dataset == "units" and "holds other bytes" in loss.fault


def test_the_command_says_what_is_lost_and_a_dry_run_changes_nothing(recipe, capsys):
    bank = recipe["bank"]
    assert main(["repair", bank, "--dry-run"]) == 0
    assert "nothing is to be repaired" in capsys.readouterr().out
    largest(recipe, "units").unlink()
    before = versions(recipe)
    assert main(["repair", bank, "--dry-run"]) == BankError.exit_code
    assert "rows less" in capsys.readouterr().out and versions(recipe) == before
    assert main(["repair", bank, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["repaired"] and facts["losses"][0]["dataset"] == "units"
    assert main(["repair", bank]) == 0


def test_nothing_is_repaired_under_a_build(recipe):
    largest(recipe, "units").unlink()
    before = versions(recipe)
    with Lease(Store(recipe["bank"])["leases"], "first"), pytest.raises(BankInUse):
        repair(Store(recipe["bank"]), "second")
    assert versions(recipe) == before


def test_transactions_that_were_undone_are_not_counted(recipe):
    dataset = Store(recipe["bank"])["units"]
    lose_an_append(recipe, "units", UNITS)
    assert next(dataset.require().properties_backwards())["mnemic.step"] == "lost"
    repair(Store(recipe["bank"]), "run")
    steps = [properties.get("mnemic.step") for properties in dataset.require().properties_backwards()]
    assert "lost" not in steps and steps


def test_a_bank_that_is_lost_says_so(recipe):
    for file in Path(recipe["bank"], "releases.lance", "_versions").glob("*.manifest"):
        file.write_bytes(b"x")
    with pytest.raises(BankError, match=r"cannot be repaired.*Bring it back from a copy"):
        repair(Store(recipe["bank"]), "run")
