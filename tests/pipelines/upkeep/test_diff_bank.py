"""`mnemic diff` on a bank that changed over several releases: equal where digests are, and every change named."""

import json

import pytest

import mnemic
from mnemic.command import main
from mnemic.errors import BankError


def test_releases_differ_where_their_digests_do(months):
    first, *_, last = months.names
    for before, after in ((first, last), (last, first), (first, first)):
        changes = mnemic.diff(f"{months.bank}@{before}", f"{months.bank}@{after}")
        digests = months.digests[before], months.digests[after]
        differing = {name for name in digests[0] if digests[0][name] != digests[1].get(name)} - {"bank"}
        assert set(changes.datasets) == differing and changes.equal == (before == after)


def test_rows_are_counted_as_a_scan_counts_them(months):
    before, after = (mnemic.open_bank(months.bank, name) for name in (months.names[0], months.names[-1]))
    changes = mnemic.diff(before, after)
    for name, key in (("documents", ["id"]), ("units", ["document", "ordinal"]), ("events", ["id"])):
        sides = [{tuple(row.values()) for row in bank.table(name, key).to_pylist()} for bank in (before, after)]
        rows = changes.datasets[name].rows
        assert (rows.removed, rows.added) == (len(sides[0] - sides[1]), len(sides[1] - sides[0]))
    places = [
        {(row["source"], row["locator"]): row["id"] for row in bank.table("documents").to_pylist()}
        for bank in (before, after)
    ]
    both = places[0].keys() & places[1].keys()
    assert changes.documents.added == len(places[1].keys() - both)
    assert changes.documents.removed == len(places[0].keys() - both) > 0
    second = mnemic.diff(f"{months.bank}@{months.names[1]}", after)
    assert second.documents.examples["changed"] == [("folder", "beta/changing.txt")]


def test_a_copy_is_equal_and_settings_are_told_in_words(bank, months, capsys):
    assert mnemic.diff(months.bank, bank.bank).equal
    mnemic.build({**bank.recipe, "cluster": {"min_leaf": 6, "branching": 4}}, device="cpu")
    changes = mnemic.diff(months.bank, bank.bank)
    assert "cluster.min_leaf: 8 -> 6" in changes.recipe and "cluster.min_leaf: 8 -> 6" in changes.lineage
    assert main(["diff", months.bank, bank.bank]) == 1
    printed = capsys.readouterr().out
    assert "cluster.min_leaf: 8 -> 6" in printed and "the content differs" in printed


def test_the_command_compares_two_releases_of_a_bank(months, capsys):
    first, last = months.names[0], months.names[-1]
    assert main(["diff", f"{months.bank}@{first}", f"@{last}", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["before"][1] == first and facts["after"][1] == last and not facts["equal"]
    assert facts["documents"]["added"] > 0
    assert main(["diff", f"{months.bank}@{last}", months.bank]) == 0
    assert "equal content" in capsys.readouterr().out
    assert main(["diff", f"{months.bank}@nothing", months.bank]) == BankError.exit_code


def test_what_is_no_bank_is_refused(tmp_path, months):
    with pytest.raises(BankError, match="does not exist"):
        mnemic.diff(str(tmp_path / "none"), months.bank)
