"""Generations in the report: with and without memory, of the command or of a file, bounded and escaped."""

import json

import pytest
from test_report_page import HOSTILE, check

from mnemic.command import main
from mnemic.continued import Continuation, Generated, continuations
from mnemic.errors import BankError, QueryError
from mnemic.report import report


def output(memory, text, hits=0):
    return {"memory": memory, "text": text, "hits": hits}


def continuation(**fields):
    outputs = [output("", "round and round", 3), output("suffix", "into the sea", 20)]
    one = {"part": "store", "locator": "a/b.txt", "prompt": "The river flows", "text": "into the sea", "tokens": 24}
    return {**one, "generated": outputs, **fields}


def evaluation(bank, *texts):
    return {"release": bank.release.name, "continuations": list(texts)}


def test_a_text_stands_there_alone_with_memory_and_as_it_goes_on(tiny):
    bank = tiny.open()
    held_out = continuation(
        part="test-document", locator="c.txt", generated=[output("", "and", 1), output("mlp", "or", 2)]
    )
    prompt = continuation(part="", locator="", text="", tokens=0, prompt="Once")
    page = check(report(bank, None, evaluation(bank, continuation(), held_out, prompt)))
    for text in ("The river flows", "alone, 3 of 24 tokens", "with suffix index, 20 of 24 tokens", "round and round"):
        assert text in page.text, text
    order = [
        "Texts that the memories hold",
        "a/b.txt",
        "Texts that no memory has learnt from",
        "c.txt",
        "Prompts",
        "Once",
    ]
    places = [page.text.index(text) for text in order]
    assert places == sorted(places)
    assert "<h2>Generations</h2>" not in report(bank)


def test_hostile_and_endless_texts_are_escaped_and_cut(tiny):
    bank = tiny.open()
    texts = [
        continuation(prompt=HOSTILE, text="x" * 10_000, locator=HOSTILE, generated=[output(HOSTILE, HOSTILE)])
    ] * 500
    page = check(report(bank, None, evaluation(bank, *texts)))
    assert "x" * 300 not in page.text and page.text.count("xxx...") == 40


@pytest.mark.parametrize(
    "broken",
    [
        5,
        {},
        continuation(tokens=-1),
        continuation(tokens=10**9),
        continuation(tokens=True),
        continuation(text=None),
        continuation(generated=[output("", "a")] * 100),
        continuation(generated=[output("", "a", 2.5)]),
        continuation(generated="many"),
    ],
)
def test_texts_of_another_form_are_refused(tiny, broken):
    bank = tiny.open()
    with pytest.raises(QueryError, match="of another form"):
        report(bank, None, evaluation(bank, broken))
    with pytest.raises(QueryError, match="of another form"):
        report(bank, None, {"release": bank.release.name, "continuations": "no list"})


def test_the_command_generates_what_it_draws(tiny, tmp_path, monkeypatch, capsys):
    prompted = []

    def continued(bank, prompts, **_):
        prompted.append(list(prompts))
        return [Continuation("", "", prompts[0] if prompts else "Once", "", 0, (Generated("", "upon"),))]

    monkeypatch.setattr("mnemic.continued.continuations", continued)
    target, path = tmp_path / "page.html", tiny.recipe["bank"]
    assert main(["report", path, "--prompt", "a table", "--prompt", "an index", "--out", str(target)]) == 0
    assert "a table" in check(target.read_text()).text
    assert main(["report", path, "--generate", "--out", str(target)]) == 0
    assert "upon" in check(target.read_text()).text and prompted == [["a table", "an index"], []]


def test_a_bank_that_continues_nothing_says_so(tiny, tmp_path, monkeypatch, capsys):
    bank, target = tiny.open(), tmp_path / "page.html"
    monkeypatch.setattr("mnemic.continued.continuations", lambda *_, **__: [])
    assert main(["report", bank.path, "--generate", "--out", str(target)]) == 0
    assert "No text of the bank is prose and long enough" in capsys.readouterr().err
    monkeypatch.setitem(bank.release.recipe, "language_model", "a-model")
    bank.release.versions.pop("datastore", None)
    with pytest.raises(BankError, match="has no datastore"):
        continuations(bank)
    monkeypatch.delitem(bank.release.recipe, "language_model")
    with pytest.raises(BankError, match="names no `language_model`"):
        continuations(bank)


@pytest.mark.slow
def test_the_commands_generate_and_draw(tiny_full, tmp_path, capsys):
    target, file = tmp_path / "page.html", tmp_path / "eval.json"
    path = tiny_full.recipe["bank"]
    assert main(["report", path, "--prompt", "table index version", "--out", str(target)]) == 0
    page = check(target.read_text())
    assert "table index version" in page.text and "with suffix index" in page.text and "of 24 tokens" not in page.text
    capsys.readouterr()
    assert main(["eval", path, "--generate", "--json"]) == 0
    file.write_text(capsys.readouterr().out)
    written = json.loads(file.read_text())["continuations"]
    assert main(["report", path, "--evaluation", str(file), "--out", str(target)]) == 0
    text = check(target.read_text()).text
    assert written and all(one["locator"] in text for one in written) and "of 24 tokens" in text


def test_advice_names_the_bank_as_a_shell_takes_it(tiny, tmp_path, capsys):
    bank, file = tiny.open(), tmp_path / "eval.json"
    file.write_text(json.dumps(evaluation(bank, {})))
    assert main(["report", bank.path, "--evaluation", str(file), "--out", str(tmp_path / "page.html")]) == 2
    assert f"`mnemic eval {bank.path} --generate --json`" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
