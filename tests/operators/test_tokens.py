"""Tokens of documents: those of the tokenizer, whole, and of a type that leaves the separator free."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from tiny_models import SENTENCES, save_tiny_model

from mnemic import languagemodel
from mnemic.edits import EDITS
from mnemic.errors import ModelError
from mnemic.languagemodel.tokenizer_files import tokenizer_files_hash
from operators import tokens as tokenizing
from operators.tokens import Tokenize
from pipelines.identity import resolved_fields


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tokens") / "model")


def batch(texts: list[str]) -> pa.RecordBatch:
    names = [f"{number}" for number in range(len(texts))]
    columns = {"id": names, "text": pa.array(texts, pa.large_string()), "tenant": ["team"] * len(texts)}
    return pa.RecordBatch.from_pydict(columns)


def test_rows_are_what_the_tokenizer_gives_in_any_split_into_batches(address, monkeypatch):
    texts = [*SENTENCES, "", SENTENCES[4] * 40]
    tokenize = Tokenize(address).open("cpu")
    rows, rejects = tokenize(batch(texts))
    tokenizer = languagemodel.tokenizer(address)
    encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    there = [number for number, text in enumerate(texts) if text]
    assert rows["document"].to_pylist() == [str(number) for number in there] and rejects.num_rows == 0
    assert rows["tokens"].to_pylist() == [encoded["input_ids"][number] for number in there]
    starts = [[start for start, _ in encoded["offset_mapping"][number]] for number in there]
    assert rows["starts"].to_pylist() == starts
    assert rows["length"].to_pylist() == [len(row) for row in starts]
    assert set(rows["tokenizer"].to_pylist()) == {languagemodel.tokenizer_hash(tokenizer)}
    assert set(rows["tenant"].to_pylist()) == {"team"}
    monkeypatch.setattr(tokenizing, "_CHARACTERS", 100)
    again = pa.concat_tables(
        pa.Table.from_batches([tokenize(one)[0]]) for one in (batch(texts).slice(0, 3), batch(texts).slice(3))
    )
    assert again.equals(pa.Table.from_batches([rows]))


def test_what_is_cut_has_no_tokens_and_the_others_start_where_they_stand(address):
    text = f"{SENTENCES[0]} {SENTENCES[1]} {SENTENCES[2]}"
    start = len(SENTENCES[0]) + 1
    end = start + len(SENTENCES[1]) + 1
    edits = pa.array([[{"start": start, "end": end, "rule": "contaminated"}], []], EDITS)
    cut, whole = batch([text, text]), batch([text[:start] + text[end:], text])
    rows, _ = Tokenize(address).open("cpu")(cut.append_column("edits", edits))
    expected, _ = Tokenize(address).open("cpu")(whole)
    assert rows["tokens"].equals(expected["tokens"])
    moved = [place if place < start else place + end - start for place in expected["starts"][0].as_py()]
    assert rows["starts"].to_pylist() == [moved, expected["starts"][1].as_py()]


def test_a_batch_of_empty_texts_gives_no_rows(address):
    rows, rejects = Tokenize(address).open("cpu")(batch(["", ""]))
    assert rows.num_rows == 0 and rejects.num_rows == 0


@pytest.mark.parametrize(("vocabulary", "kind"), [(320, "uint16"), (65_535, "uint16"), (65_536, "uint32")])
def test_tokens_have_two_bytes_where_a_number_is_left_for_the_separator(address, tmp_path, vocabulary, kind):
    from shutil import copytree

    folder = copytree(address, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": vocabulary}))
    schema = Tokenize(str(folder)).output(pa.schema([]))
    assert str(schema.field("tokens").type.value_type) == kind


def test_the_tokenizer_is_the_identity_and_the_weights_are_not(address, tmp_path):
    from shutil import copytree

    folder = copytree(address, tmp_path / "model")
    fields = resolved_fields(Tokenize(address))
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert resolved_fields(Tokenize(str(folder))) == fields
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"][0]["content"] = "<|other|>"
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert resolved_fields(Tokenize(str(folder))) != fields


def test_a_model_without_a_tokenizer_is_told(address, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no tokenizer"):
        tokenizer_files_hash(str(tmp_path))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(ModelError, match="header of a GGUF"):
        tokenizer_files_hash(str(tmp_path / "broken.gguf"))
