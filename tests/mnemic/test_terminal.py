"""Nothing of a corpus can steer a terminal."""

from mnemic.terminal import one_line, plain


def test_control_codes_and_direction_marks_go_and_text_stays():
    hostile = "title\x1b]0;owned\x07 \x1b[31mred\x9b0m \u202egnp.exe naïve 漢字\n\ttab"
    shown = plain(hostile)
    assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert "naïve 漢字\n\ttab" in shown


def test_one_line_fits():
    assert one_line("a\nb\x1b  c", 80) == "a b c"
    assert one_line("x" * 50, 10) == "xxxxxxx..."
