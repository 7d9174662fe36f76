"""Large files of records are many items: built in parts, carried on after a kill, and the same bank as read whole."""

import json

import pytest
import record_files as files
from tiny_encoder import save_tiny_encoder

import mnemic
from pipelines.sources import files as listing
from pipelines.steps.read import ReadStep

ROWS = [row | {"name": f"{row['name']}-{n}", "body": f"{row['body']} {n}"} for n in range(6) for row in files.ROWS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(save_tiny_encoder(tmp_path_factory.mktemp("encoder")))


def recipe_of(tmp_path, encoder, **settings):
    return {
        "name": "large",
        "bank": str(tmp_path / "bank"),
        "sources": [{"path": str(tmp_path / "rows"), "text_field": "body", **settings}],
        "embed": {"model": encoder, "dtype": "float32"},
        "deduplicate": {"method": "exact"},
        "cluster": False,
    }


def write(tmp_path, kind):
    (tmp_path / "rows").mkdir()
    if kind == "csv":
        return files.write_csv(tmp_path / "rows" / "a.csv", rows=ROWS)
    return files.write_lines(tmp_path / "rows" / "a.jsonl", rows=ROWS)


def items(bank):
    return set(mnemic.open_bank(bank).view.table("documents", ["item"])["item"].to_pylist())


@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_a_bank_of_parts_is_the_bank_of_the_whole_file(kind, tmp_path, encoder, monkeypatch):
    path = write(tmp_path, kind)
    recipe = recipe_of(tmp_path, encoder, kind=kind)
    mnemic.build(recipe, device="cpu")
    whole = mnemic.open_bank(recipe["bank"]).digest()
    monkeypatch.setattr(listing, "PART_BYTES", path.stat().st_size // 7)
    assert mnemic.plan(recipe).nothing_to_do, "a file that a bank has read whole stays done"
    parted = recipe | {"bank": str(tmp_path / "parted")}
    mnemic.build(parted, device="cpu")
    assert mnemic.open_bank(parted["bank"]).digest() == whole
    assert len(items(recipe["bank"])) == 1 < len(items(parted["bank"]))
    assert mnemic.plan(parted).nothing_to_do


def test_a_kill_costs_the_parts_that_were_not_committed(tmp_path, encoder, monkeypatch):
    path = write(tmp_path, "folder")
    recipe = recipe_of(tmp_path, encoder, kind="folder")
    mnemic.build(recipe | {"bank": str(tmp_path / "whole")}, device="cpu")
    monkeypatch.setattr(listing, "PART_BYTES", path.stat().st_size // 7)
    work, chunks = ReadStep._work, []

    def cut_off(self, *work_of):
        for number, chunk in enumerate(work(self, *work_of)):
            if number == 3:
                raise KeyboardInterrupt
            chunks.append(chunk)
            yield chunk

    monkeypatch.setattr("pipelines.steps.read.CHUNK_BYTES", 1)
    with monkeypatch.context() as patch:
        patch.setattr(ReadStep, "_work", cut_off)
        with pytest.raises((KeyboardInterrupt, mnemic.MnemicError)):
            mnemic.build(recipe, device="cpu")
    before = mnemic.plan(recipe).steps[0]
    assert 0 < before.todo < before.total == 7
    mnemic.build(recipe, device="cpu")
    assert mnemic.open_bank(recipe["bank"]).digest() == mnemic.open_bank(str(tmp_path / "whole")).digest()


def test_an_edited_file_replaces_its_documents_and_the_plan_says_so(tmp_path, encoder):
    path = write(tmp_path, "csv")
    recipe = recipe_of(tmp_path, encoder, kind="csv")
    assert any("fields parted by comma" in reason for reason in mnemic.plan(recipe).steps[0].reasons)
    mnemic.build(recipe, device="cpu")
    files.write_csv(path, rows=[*ROWS[1:], ROWS[0] | {"body": "A row that is new in the table."}])
    reasons = mnemic.plan(recipe).steps[0].reasons
    assert "1 of them edited, whose documents are replaced: a.csv" in reasons
    mnemic.build(recipe, device="cpu")
    texts = mnemic.open_bank(recipe["bank"]).view.table("documents", ["text"])["text"].to_pylist()
    assert len(texts) == len(ROWS)
    assert "A row that is new in the table." in texts
    assert ROWS[0]["body"] not in texts


def test_an_id_that_stands_in_two_parts_is_two_documents(tmp_path, encoder, monkeypatch):
    (tmp_path / "rows").mkdir()
    record = json.dumps({"id": "same", "body": "The same row at both ends of the file."}) + "\n"
    middle = "".join(json.dumps({"id": n, "body": f"Row {n} in the middle."}) + "\n" for n in range(50))
    (tmp_path / "rows" / "a.jsonl").write_text(record + middle + record)
    monkeypatch.setattr(listing, "PART_BYTES", 1000)
    recipe = recipe_of(tmp_path, encoder, kind="folder", id_field="id")
    mnemic.build(recipe, device="cpu")
    rows = mnemic.open_bank(recipe["bank"]).view.table("documents", ["id", "locator"]).to_pylist()
    assert len({row["id"] for row in rows}) == len(rows) == 52
