"""Names and paths are shown as they are, whatever they hold."""

import ast

from flows.markdown import escaped, key, quoted

HOSTILE = "a|b\n# <script>alert(1)</script> [x](javascript:y) `c` **d** \x1b[2J ```"


def test_markdown_shows_a_hostile_name_as_it_is():
    shown = escaped(HOSTILE)
    assert "<" not in shown
    assert "\n" not in shown
    assert "\x1b" not in shown
    for mark in "|`*[](#:":
        assert shown.count(mark) == shown.count("\\" + mark)


def test_a_path_stays_inside_the_block_of_code_that_it_is_quoted_in():
    shown = quoted("/banks/'a' ``` \"b\" \n é")
    assert "`" not in shown
    assert "\n" not in shown
    assert ast.literal_eval(shown) == "/banks/'a' ``` \"b\" \n é"


def test_artifacts_of_a_bank_have_keys_that_prefect_takes():
    assert key("release", "Notes_of.2026") == "release-notes-of-2026"
