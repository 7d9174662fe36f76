"""A damaged or hostile bank is told in a sentence: no traceback, no hang, no file outside it, no escape sequence."""

import json
import os
import shutil
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from damaged_bank import ESCAPE

import mnemic
from mnemic.command import main
from mnemic.dataset import Store, commit
from mnemic.errors import BankError
from mnemic.facts import DEEPEST, mapping, parsed

SHORT = ("show", "digest")


@pytest.fixture
def bank(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "ATTEMPTS", 1)
    return Path(tiny.copy(tmp_path)["bank"])


def native(bank, name):
    return lance.dataset(str(bank / f"{name}.lance"))


def set_release(bank, **columns):
    native(bank, "releases").update({name: "'" + text.replace("'", "''") + "'" for name, text in columns.items()})


def release_value(bank, column):
    return json.loads(native(bank, "releases").to_table()[column][0].as_py())


def pin(bank, **versions):
    set_release(bank, versions=json.dumps({**release_value(bank, "versions"), **versions}))


def largest(bank, name):
    return max((bank / f"{name}.lance" / "data").iterdir(), key=lambda path: path.stat().st_size)


def refused(bank, *commands):
    """What the first of the commands says; every one ends with the exit code of a bank that cannot be read."""
    with pytest.raises(BankError) as caught:
        mnemic.open_bank(bank).digest()
    for command in commands or SHORT:
        assert main([command, str(bank)]) == BankError.exit_code
    return str(caught.value)


@pytest.mark.parametrize(
    "versions",
    [
        "{",
        "[1]",
        "null",
        "[" * 100_000,
        json.dumps({"events": "x"}),
        json.dumps({"events": True}),
        json.dumps({"events": 10**40}),
        json.dumps({"events": -1}),
        json.dumps({"events": 999_999}),
        '{"events": ' + "9" * 5000 + "}",
        json.dumps({"../elsewhere/documents": 2}),
        json.dumps({"/etc/passwd": 1}),
        json.dumps({"a/b": 1}),
        json.dumps({"..": 1}),
        json.dumps({ESCAPE: 1}),
    ],
    ids=lambda text: text[:24],
)
def test_a_release_pins_versions_of_datasets_in_the_bank(bank, versions, capsys):
    shutil.copytree(bank / "documents.lance", bank.parent / "elsewhere" / "documents.lance")
    counts = dict.fromkeys(("events", "../elsewhere/documents", "/etc/passwd", "a/b", "..", ESCAPE), 1)
    set_release(bank, versions=versions, counts=json.dumps({**release_value(bank, "counts"), **counts}))
    assert "\x1b" not in refused(bank)
    streams = capsys.readouterr()
    assert "\x1b" not in streams.out + streams.err and "Traceback" not in streams.err


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("counts", "{}"),
        ("counts", '{"documents": "many"}'),
        ("recipe", "[]"),
        ("lineage", '{"read": []}'),
        ("lineage", '{"read": {}}'),
        ("lineage", '{"x": {"version": 1, "fingerprint": "f", "reads": {}, "fields": {}, "found": {"due": 7}}}'),
        ("release", ESCAPE),
        ("release", "../x"),
        ("release", ""),
    ],
)
def test_a_release_has_the_form_of_one(bank, column, text, capsys):
    set_release(bank, **{column: text})
    assert refused(bank)
    assert "\x1b" not in capsys.readouterr().err


def test_a_damaged_release_hides_no_other(bank):
    name = mnemic.open_bank(bank).release.name
    rows = native(bank, "releases").to_table()
    broken = rows.set_column(rows.schema.get_field_index("release"), "release", pa.array(["2020.01.01"]))
    broken = broken.set_column(broken.schema.get_field_index("versions"), "versions", pa.array(["{"]))
    earlier = pa.array([rows["created"][0].as_py().replace(year=2020)], rows.schema.field("created").type)
    broken = broken.set_column(broken.schema.get_field_index("created"), "created", earlier)
    lance.write_dataset(broken.cast(rows.schema), str(bank / "releases.lance"), mode="append")
    assert mnemic.open_bank(bank, name).release.name == name
    for release in ("2020", None):  # by commit it is the newest, whatever time it says
        with pytest.raises(BankError, match=r"2020\.01\.01 of .* versions is no JSON"):
            mnemic.open_bank(bank, release)


@pytest.mark.parametrize("name", ["events", "documents", "releases", "memories"])
def test_truncated_and_flipped_files_are_told(bank, name):
    file = largest(bank, name)
    os.truncate(file, file.stat().st_size // 2)
    sentences = refused(bank, "digest")
    assert "is there and cannot be read" in sentences and "mnemic verify" in sentences
    data = bytearray(file.read_bytes() * 2)
    for place in range(100, len(data) - 200, 37):
        data[place] ^= 0xFF
    file.write_bytes(data)
    assert refused(bank, "digest")


def test_a_dataset_without_its_manifests_is_not_a_new_one(bank):
    for manifest in (bank / "documents.lance" / "_versions").glob("*.manifest"):
        manifest.unlink()
    assert refused(bank)
    with pytest.raises(BankError, match="is there and cannot be read"):
        Store(bank)["documents"].snapshot()


def test_datasets_of_others_are_told(bank):
    lance.write_dataset(pa.table({"a": [1, 2]}), str(bank / "events.lance"), mode="overwrite")
    pin(bank, events=native(bank, "events").version)
    assert "has no column id" in refused(bank, "show", "digest")


def test_columns_of_another_type_are_told(bank):
    rows = native(bank, "events").to_table()
    rows = rows.set_column(rows.schema.get_field_index("words"), "words", pa.array(["many"] * len(rows)))
    lance.write_dataset(rows, str(bank / "events.lance"), mode="overwrite")
    pin(bank, events=native(bank, "events").version)
    assert "has string in words, where int32 belongs" in refused(bank)


@pytest.mark.parametrize(("key", "text"), [("mnemic.format", "x"), ("mnemic.format", "999"), ("mnemic.step", "{")])
def test_metadata_that_mnemic_did_not_write_are_told(bank, key, text):
    native(bank, "memories").update_schema_metadata({key: text})
    pin(bank, memories=native(bank, "memories").version)
    with pytest.raises(BankError):
        _ = mnemic.open_bank(bank).dataset("memories").record


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("config", "{"),
        ("lock", "[]"),
        ("metrics", "["),
        ("metrics", '{"trained_tokens": "3"}'),
        ("metrics", '{"parameters": null}'),
        ("metrics", '{"weight": 1.5}'),
        ("metrics", '{"weight": NaN}'),
        ("record", "7"),
    ],
)
def test_memories_that_mnemic_did_not_write_are_told(bank, column, text):
    native(bank, "memories").update({column: f"'{text}'"})
    pin(bank, memories=native(bank, "memories").version)
    with pytest.raises(BankError, match=f"The memory mlp of .*: {column}"):
        mnemic.open_bank(bank).memories()
    assert main(["show", str(bank)]) == BankError.exit_code


@pytest.mark.parametrize("kind", ["pipe", "link", "device", "linked folder", "linked dataset", "file"])
def test_only_plain_files_are_opened(bank, tiny, kind):
    file = largest(bank, "events")
    if kind == "pipe":
        file.unlink()
        os.mkfifo(file)
    elif kind == "link":
        target = bank.parent / "outside"
        file.rename(target)
        file.symlink_to(target)
    elif kind == "device":
        file.unlink()
        file.symlink_to("/dev/zero")
    elif kind == "linked folder":
        shutil.rmtree(file.parent)
        file.parent.symlink_to(Path(tiny.recipe["bank"]) / "events.lance" / "data")
    else:
        shutil.rmtree(bank / "events.lance")
        if kind == "file":
            (bank / "events.lance").write_text("no folder")
        else:
            (bank / "events.lance").symlink_to(Path(tiny.recipe["bank"]) / "events.lance")
    started = time.monotonic()
    assert "a bank holds only plain files" in refused(bank)
    assert time.monotonic() - started < 30


def test_a_bank_may_itself_be_reached_by_a_link(bank, tmp_path):
    (tmp_path / "way").symlink_to(bank)
    assert mnemic.open_bank(tmp_path / "way").digest() == mnemic.open_bank(bank).digest()


def test_files_outside_the_bank_that_a_manifest_names_are_not_read(bank):
    copy = bank.parent / "clone.lance"
    native(bank, "pairs").shallow_clone(str(copy), reference=native(bank, "pairs").version)
    shutil.rmtree(bank / "pairs.lance")
    copy.rename(bank / "pairs.lance")
    pin(bank, pairs=native(bank, "pairs").version)
    assert "names files outside of the bank" in refused(bank)


def test_escapes_of_a_bank_reach_no_terminal(bank, capsys):
    set_release(
        bank,
        run=ESCAPE,
        lineage=json.dumps(
            {
                **release_value(bank, "lineage"),
                ESCAPE: {"version": 1, "fingerprint": ESCAPE, "reads": {ESCAPE: "x"}, "fields": {}},
                "x": {"version": 1, "fingerprint": "f", "reads": {}, "fields": {}, "found": {"due": ESCAPE}},
            }
        ),
    )
    for name, column in (("events", "id"), ("events", "level"), ("documents", "locator"), ("documents", "source")):
        native(bank, name).update({column: f"concat({column}, '{ESCAPE}')"})
        pin(bank, **{name: native(bank, name).version})
    native(bank, "memories").update({"name": f"concat(name, '{ESCAPE}')", "kind": f"'{ESCAPE}'"})
    pin(bank, memories=native(bank, "memories").version)
    native(bank, "rejects").update({"locator": f"'{ESCAPE}'", "reason": f"'{ESCAPE}'", "step": f"'{ESCAPE}'"})
    first = mnemic.open_bank(bank).table("events", ["id"])["id"][0].as_py()[:10]
    for words in (["show"], ["show", "--json"], ["show", "--failures"], ["digest"], ["why", first], ["why", "0"]):
        main([words[0], str(bank), *words[1:]])
    width = mnemic.open_bank(bank).dataset("events").schema.field("vector").type.list_size
    vector = np.ones(width, np.float32)
    from mnemic.command.search import _summed_up
    from mnemic.search.shown import Style, shown, surroundings

    opened = mnemic.open_bank(bank)
    hits = opened.search("reader version", vector=vector)
    beside = surroundings(opened.view, hits, 1)
    print("".join(shown(1, hit, Style(explain=True), beside) for hit in hits), _summed_up(hits, "r"))
    streams = capsys.readouterr()
    assert "\x1b" not in streams.out and "\x1b" not in streams.err and "Traceback" not in streams.err
    assert "\x07" not in streams.out


def test_a_condition_that_is_wrong_is_no_damage(bank):
    from mnemic.errors import QueryError

    for where in ("colour = 'red'", "id +", "words / 0 > 3", "cast(text AS int) > 3"):
        with pytest.raises(QueryError):
            mnemic.open_bank(bank).table("events", ["id"], where)


def test_json_of_a_bank_is_read_within_limits():
    assert mapping('{"a": NaN}', "here").keys() == {"a"}
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert parsed(deep, "here") and parsed(b'"text"', "here") == "text"
    for text in ("", "{", f"[{deep}]", "[" * 200_000, "9" * 5000, None, 5):
        with pytest.raises(BankError, match="here"):
            parsed(text, "here")
    with pytest.raises(BankError, match="here is a list, not an object"):
        mapping("[]", "here")


def test_a_panic_of_lance_is_told(bank, monkeypatch):
    class PanicException(BaseException):
        pass

    def panic(self, *arguments, **options):
        raise PanicException("index out of bounds")

    units = Store(str(bank))["units"].require()
    monkeypatch.setattr(lance.LanceDataset, "to_table", panic)
    with pytest.raises(BankError, match="is there and cannot be read"):
        units.table(["text"])
