"""A bank in an object store, built over HTTP: the same bank, the same promises, and no secret anywhere."""

import contextlib
import json
import traceback

import pytest
from nursery import Nursery
from object_store import KEY, SECRET, object_store
from tiny_bank import tiny_recipe, write_corpus

import mnemic
from mnemic.command import main
from mnemic.dataset import Store, commit
from mnemic.dataset.lease import Lease
from mnemic.errors import BankError, BankInUse, RecipeError, Unreachable
from mnemic.repair import repair
from mnemic.verify import verify
from pipelines.plan import plan
from pipelines.progress import JsonLog
from pipelines.recipe import load_recipe
from pipelines.run import build


@pytest.fixture(scope="module")
def remote():
    with object_store() as server:
        yield server


@pytest.fixture(scope="module")
def with_model(tmp_path_factory):
    """For slow tests: a request takes as much processor time as a step of so small a corpus."""
    root = tmp_path_factory.mktemp("object-store")
    return tiny_recipe(root, write_corpus(root / "corpus", documents=18))


@pytest.fixture(scope="module")
def recipe(with_model):
    """Of the same corpus, without a language model: fewer steps."""
    shorter = {name: value for name, value in with_model.items() if name != "language_model"}
    return {**shorter, "bank": with_model["bank"] + "-without-model"}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "build.jsonl"


@pytest.fixture(scope="module")
def built(recipe, remote, log):
    """The address of a bank that was built there."""
    result = build(
        recipe, bank=remote.bank("built"), storage_options=remote.options, device="cpu", sinks=[JsonLog(log)]
    )
    assert result.release is not None
    return result.bank


@pytest.fixture
def environment(remote, monkeypatch):
    """The object store is known by the environment alone."""
    for name, value in {**remote.environment, "OBJECT_STORE_CLIENT_MAX_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)


def untold(text: str) -> bool:
    return SECRET not in text and KEY not in text


def test_it_equals_a_local_bank(built, recipe, remote):
    build(recipe, device="cpu")
    there = mnemic.open_bank(built, storage_options=remote.options)
    assert there.digest() == mnemic.open_bank(recipe["bank"]).digest()
    assert there.search("the lease of a bank", words=50)


def test_a_second_build_runs_nothing_and_plan_knows_the_sizes(built, recipe, remote):
    assert build(recipe, bank=built, storage_options=remote.options, device="cpu").steps == ()
    planned = plan({**recipe, "bank": built, "storage_options": remote.options})
    assert planned.nothing_to_do
    assert all(size > 0 for rows, size in planned.datasets.values() if rows)
    assert planned.free_bytes is None


def test_options_stand_neither_in_the_bank_nor_in_the_log_nor_in_the_recipe(built, recipe, remote, log):
    objects = dict(remote.objects("built/"))
    assert len(objects) > 100
    for key, data in objects.items():
        assert SECRET.encode() not in data and KEY.encode() not in data, key
    assert untold(log.read_text())
    loaded = load_recipe({**recipe, "bank": built, "storage_options": remote.options})
    assert loaded.connection["aws_secret_access_key"] == SECRET
    assert "storage_options" not in json.loads(loaded.as_json())
    assert untold(f"{loaded!r} {loaded} {loaded.as_json()} {loaded.storage_options} {loaded.connection}")
    assert loaded.as_json() == load_recipe({**recipe, "bank": built}).as_json()


def test_options_come_from_the_environment_where_the_recipe_says_so(recipe, monkeypatch):
    options = {"aws_secret_access_key": "${MNEMIC_TEST_SECRET}", "allow_http": True}
    monkeypatch.setenv("MNEMIC_TEST_SECRET", SECRET)
    connection = load_recipe({**recipe, "storage_options": options}).connection
    assert dict(connection) == {"aws_secret_access_key": SECRET, "allow_http": "true"}
    monkeypatch.delenv("MNEMIC_TEST_SECRET")
    with pytest.raises(RecipeError, match="environment variable MNEMIC_TEST_SECRET, which is not set"):
        load_recipe({**recipe, "storage_options": options})


def test_mistakes_in_options_are_told_with_the_others_and_tell_no_value(recipe, tmp_path):
    for options, words in (
        ({"aws_endpiont": SECRET}, "did you mean `aws_endpoint`?"),
        ({"aws_endpoint": SECRET}, "write it as http://host:port"),
        ({"aws_secret_access_key": [SECRET]}, "written below it as `name: value`"),
        (SECRET, "written below it as `name: value`"),
    ):
        with pytest.raises(RecipeError) as caught:
            load_recipe({**recipe, "storage_options": options, "max_rejects": 2})
        assert words in str(caught.value) and "`max_rejects`" in str(caught.value)
        assert untold("".join(traceback.format_exception(caught.value)))
    (tmp_path / "broken.yaml").write_text(f"storage_options: {{aws_secret_access_key: {SECRET}")
    with pytest.raises(RecipeError, match="not readable as YAML") as caught:
        load_recipe(tmp_path / "broken.yaml")
    assert untold("".join(traceback.format_exception(caught.value)))


def test_a_bank_in_use_is_refused(built, recipe, remote):
    store = Store(built, remote.options)
    with Lease(store["leases"], "first"), pytest.raises(BankInUse, match="run first"):
        build(recipe, bank=built, storage_options=remote.options, device="cpu")


@pytest.mark.slow
def test_changed_and_lost_objects_are_told_and_gone_back_from(built, recipe, remote, monkeypatch):
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    remote.copy("built", "damaged")
    bank = remote.bank("damaged")
    store, release = Store(bank, remote.options), mnemic.open_bank(bank, storage_options=remote.options).release
    whole = verify(store, deep=True)
    assert whole.whole and whole.hashed > 100 and not whole.orphans and not whole.notes

    objects = {key: data for key, data in remote.objects("damaged/") if "/data/" in key}
    units = max((key for key in objects if "/units.lance/" in key), key=lambda key: len(objects[key]))
    pairs = next(key for key in objects if "/pairs.lance/" in key)
    remote.put(pairs, objects[pairs][:-9] + b"x" + objects[pairs][-8:])
    assert verify(store).whole
    assert [f"damaged/{finding.path}" for finding in verify(store, deep=True).findings] == [pairs]
    remote.put(pairs, objects[pairs])
    remote.put(units, None)
    assert [f"damaged/{finding.path}" for finding in verify(store).findings] == [units]
    with pytest.raises(BankError, match="is there and cannot be read"):
        mnemic.open_bank(bank, storage_options=remote.options).table("units")

    with pytest.raises(BankError, match=f"`mnemic repair {bank}`"):
        build(recipe, bank=bank, storage_options=remote.options, device="cpu")
    (loss,) = repair(store, "run")
    assert loss.dataset == "units" and loss.releases == (release.name,)
    build(recipe, bank=bank, storage_options=remote.options, device="cpu")
    there = mnemic.open_bank(bank, storage_options=remote.options)
    assert there.digest() == mnemic.open_bank(built, storage_options=remote.options).digest()

    version = there.release.versions["pairs"]
    newest = min(key for key, _ in remote.objects("damaged/pairs.lance/_versions/") if key.endswith(".manifest"))
    remote.put(newest, b"x" * 100)
    repair(store, "run")
    assert store["pairs"].require().version > version
    with pytest.raises(BankError):
        store["pairs"].require(version)
    build(recipe, bank=bank, storage_options=remote.options, device="cpu")
    again = mnemic.open_bank(bank, storage_options=remote.options)
    assert again.digest() == mnemic.open_bank(built, storage_options=remote.options).digest()


def test_commands_read_a_bank_by_the_environment(built, environment, capsys, tmp_path):
    def told(*arguments: str) -> str:
        assert main(list(arguments)) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert f"{built}  release" in told("show", built)
    assert "delta/broken.txt" in told("show", built, "--failures")
    hit = json.loads(told("search", built, "the lease of a bank", "--words", "60", "--json").splitlines()[0])
    assert hit["id"] in told("why", built, hit["id"])
    assert mnemic.open_bank(built).digest()["bank"] in told("digest", built)
    assert "rows of events written" in told("export", built, "events", str(tmp_path / "events.jsonl"))


def test_a_command_says_that_the_store_does_not_answer(built, environment, remote, capsys, monkeypatch):
    bank = mnemic.open_bank(built)
    assert bank.search("lease", words=50)
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    remote.line.cut()
    try:
        assert main(["show", built]) == Unreachable.exit_code == 12
        with pytest.raises(Unreachable):
            bank.search("lease", words=50, where="words > 3")  # the condition is not to blame
    finally:
        remote.line.mend()
    errors = capsys.readouterr().err
    assert f"mnemic: The object store that holds {built} does not answer" in errors
    assert untold(errors)


@pytest.mark.slow
def test_a_store_that_is_lost_in_a_step_is_told_and_the_next_build_carries_on(recipe, remote, monkeypatch):
    build(recipe, device="cpu")
    bank, seen = remote.bank("lost"), []

    def lose(event) -> None:
        seen.append(event)
        if event.step == "embed" and event.kind == "fragment" and event.fragment == 1:
            remote.line.cut()

    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    with pytest.raises(Unreachable, match=r"does not answer .* committed so far is kept") as caught:
        build(recipe, bank=bank, storage_options=remote.options, device="cpu", commit_every=1, sinks=[lose])
    remote.line.mend()
    assert untold("".join(traceback.format_exception(caught.value)) + str(seen))
    result = build(recipe, bank=bank, storage_options=remote.options, device="cpu")
    assert [step.step for step in result.steps] == ["embed", "segment", "cluster", "release"]
    there, here = mnemic.open_bank(bank, storage_options=remote.options), mnemic.open_bank(recipe["bank"])
    assert result.steps[0].rows < there.release.counts["units"], "the first fragment had been committed"
    assert there.digest() == here.digest()
    for key, data in remote.objects("lost/"):
        assert SECRET.encode() not in data and KEY.encode() not in data, key


@pytest.mark.slow
def test_a_build_that_is_killed_carries_on(with_model, remote, environment, capsys):
    """At a point of every kind of step; each build begins where the one before was killed."""
    build(with_model, device="cpu")
    digest = mnemic.open_bank(with_model["bank"]).digest()
    killed = {**with_model, "bank": remote.bank("killed")}
    with Nursery() as nursery:
        for fault in (
            "read:after-write",
            "signature:before-commit",
            "deduplicate:after-commit",
            "units:after-write",
            "embed:before-commit:2",
            "datastore:after-write",
            "imitate:after-commit:2",
            "release:before-commit",
        ):
            assert nursery.build(killed, fault=fault)[0] == -9, fault
        assert nursery.build(killed)[0] == 0
    bank = mnemic.open_bank(killed["bank"])
    assert bank.digest() == digest
    assert sum(bank.store[name].remove_orphans() for name in bank.release.versions) == 0
    assert main(["eval", killed["bank"]]) == 0 and "perplexity on" in capsys.readouterr().out


@pytest.mark.slow
def test_a_store_that_is_lost_again_and_again(built, recipe, remote):
    """Cut at every twentieth event: whatever was under way, the builds end with the same bank."""
    digest = mnemic.open_bank(built, storage_options=remote.options).digest()
    bank, counts = remote.bank("cut"), [0, 0]

    def lose(event) -> None:
        counts[0] += 1
        if counts[0] % 20 == 0:
            remote.line.cut()

    for _ in range(40):
        try:
            build(recipe, bank=bank, storage_options=remote.options, device="cpu", commit_every=1, sinks=[lose])
            break
        except Unreachable:
            counts[1] += 1
        finally:
            with contextlib.suppress(OSError):
                remote.line.mend()
    assert counts[1] > 3
    assert mnemic.open_bank(bank, storage_options=remote.options).digest() == digest


@pytest.mark.slow
def test_ray_workers_build_it_too(built, recipe, remote):
    """The options of the recipe travel with the jobs, and stay out of what workers write."""
    other = {**recipe, "bank": remote.bank("ray"), "storage_options": remote.options}
    build(other, engine="ray", device="cpu")
    digests = [mnemic.open_bank(bank, storage_options=remote.options).digest() for bank in (built, remote.bank("ray"))]
    assert digests[0] == digests[1]
    for key, data in remote.objects("ray/"):
        assert SECRET.encode() not in data and KEY.encode() not in data, key
