"""Gains by topic in the report: of an evaluation of this release, bounded and escaped."""

import json
import math

import pytest
from test_report_page import HOSTILE, check

import mnemic
from mnemic.command import main
from mnemic.errors import QueryError
from mnemic.report import report
from mnemic.report.evaluation import read_evaluation
from mnemic.report.figures import differences


def topic(node, base, fetched, label="pipes"):
    return {"node": node, "label": label, "documents": 2, "tokens": 30, "base": base, "fetched": fetched}


def evaluation(bank, *topics):
    parts = [{"part": "document", "topics": list(topics)}, {"part": "collection", "topics": []}]
    return {"release": bank.release.name, "blocks": parts}


def test_topics_are_drawn_with_the_largest_gain_first(tiny):
    bank = tiny.open()
    page = check(report(bank, None, evaluation(bank, topic("0", 3.0, 3.25), topic("1", 3.0, 2.5, HOSTILE))))
    assert "lower the loss of 1 of 2 topics; held-out documents" in page.text
    assert page.text.index("+0.500") < page.text.index("-0.250")
    assert "Gain by topic" not in check(report(bank)).text


def interval(value):
    return {"value": value, "low": value - 0.5, "high": value + 0.5}


def blocked(node, **changes):
    comparison = {"perplexity": interval(8.0), "ratio": interval(1.25)}
    compared = dict.fromkeys(("fetched", "blocked", "effect"), comparison)
    return {"node": node, "label": HOSTILE, "documents": 2, "base": interval(9.0), **compared, **changes}


def test_blocked_topics_stand_in_a_table_with_their_intervals(tiny):
    bank, own = tiny.open(), evaluation(tiny.open(), topic("0", 3.0, 2.5))
    assert "topic is blocked" not in check(report(bank, None, own)).text, "evaluations of before have none"
    own["blocks"][0]["blocked"] = [blocked("", label=""), blocked("0")]
    page = check(report(bank, None, own))
    for words in ("all topics, each alone", "9.00 (8.50 to 9.50)", "8.00 (7.50 to 8.50)", "1.250 (0.750 to 1.750)"):
        assert words in page.text
    for broken in ({"node": "0"}, blocked("0", base=5), blocked("0", effect={}), blocked("0", base=interval(math.nan))):
        own["blocks"][0]["blocked"] = [broken]
        with pytest.raises(QueryError, match="blocked topics are of another form"):
            report(bank, None, own)
    own["blocks"][0]["blocked"] = 5
    with pytest.raises(QueryError, match="blocked topics are of another form"):
        report(bank, None, own)


def test_bars_of_both_signs_stand_on_one_line():
    page = check(
        f"<p>default-src 'none'; style-src 'unsafe-inline'</p>{differences([('a', 2.0, '+2'), ('b', -1.0, '-1')], 'x')}"
    )
    places = {name: [float(value) for key, value in page.attributes if key == name] for name in ("x", "width", "x1")}
    lefts = [place for place in places["x"] if place != 205.0]
    (middle,) = places["x1"]
    assert places["width"][0] == pytest.approx(2 * places["width"][1], abs=0.2)
    assert lefts[0] == middle and lefts[2] + places["width"][1] == pytest.approx(middle, abs=0.2)


def test_an_evaluation_of_another_release_or_form_is_refused(tiny, tmp_path):
    bank = tiny.open()
    with pytest.raises(QueryError, match="of the release elsewhere"):
        report(bank, None, {"release": "elsewhere", "blocks": []})
    for broken in (topic("0", "much", 1.0), topic("0", float("nan"), 1.0), {"node": "0"}, 5):
        with pytest.raises(QueryError, match="of another form"):
            report(bank, None, evaluation(bank, broken))
    for number, text in enumerate(("[]", "{", '"' + "x" * 100, "[" * 100_000)):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        with pytest.raises(QueryError, match="is no evaluation"):
            read_evaluation(file)
    with pytest.raises(QueryError, match="is no evaluation"):
        read_evaluation(tmp_path / "absent.json")


def test_the_command_draws_a_file(tiny, tmp_path, capsys):
    bank = tiny.open()
    file = tmp_path / "eval.json"
    file.write_text(json.dumps(evaluation(bank, topic("0", 3.0, 2.9))))
    target = tmp_path / "page.html"
    assert main(["report", tiny.recipe["bank"], "--evaluation", str(file), "--out", str(target)]) == 0
    assert "+0.100" in check(target.read_text()).text
    assert mnemic.open_bank(tiny.recipe["bank"]).release.name in capsys.readouterr().out
