"""A text that waits is cut into pieces that tile it, none too long for an encoder."""

import datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnemic.inbox.calls import Row
from mnemic.inbox.pieces import PIECE, cut, smallest, whole
from mnemic.inbox.waiting import WaitingCall
from mnemic.words import count_words

NOW = datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC)
TEXTS = st.lists(
    st.sampled_from(["word", "Ada.", "end. ", " ", "\n", "x" * 3000, "日本語です。", "?"]), max_size=400
).map("".join)


@given(TEXTS)
@example("word " * 5_000)
@example("Ab. " * 5_000)
@example("\n" * 5_000)
@settings(max_examples=60)
def test_pieces_stand_where_they_say_and_lose_nothing(text):
    pieces = list(cut(text))
    assert all(text[start : start + len(piece)] == piece for start, piece in pieces)
    assert "".join("".join(piece.split()) for _, piece in pieces) == "".join(text.split())
    ends = [start + len(piece) for start, piece in pieces]
    assert all(end <= start for end, (start, _) in zip(ends, pieces[1:], strict=False)), "in order, without overlap"
    assert all(count_words(piece) <= max(PIECE, 1_000) for _, piece in pieces)
    assert all(len(piece) <= PIECE * 1_001 for _, piece in pieces)


def conversation(*lines):
    rows = tuple(Row(f"{'a' * 24}{number:08x}", text, who, NOW) for number, (who, text) in enumerate(lines))
    return WaitingCall("a" * 24, "team", True, NOW, rows)


def test_turns_stand_in_the_whole_where_they_say():
    call = conversation(("Ada", "I mended it.\nTwice."), ("", "Good."), ("Ada", "Yes."))
    pieces = smallest(call)
    session = whole(call, pieces, "session")
    assert session.text == "Ada: I mended it.\nTwice.\nGood.\nAda: Yes."
    assert [session.text[piece.start : piece.end] for piece in pieces] == [piece.text for piece in pieces]
    assert session.speakers == ("Ada",) and session.turns == tuple(row.id for row in call.rows)
    assert [piece.level for piece in pieces] == ["turn"] * 3 and all(piece.leaf for piece in pieces)


def test_a_long_text_has_pieces_with_ids_of_their_own():
    row = Row("b" * 24 + "0" * 8, "One sentence of five words. " * 60, "", NOW)
    pieces = smallest(WaitingCall("b" * 24, "", False, NOW, (row,)))
    assert len(pieces) > 1 and len({piece.id for piece in pieces}) == len(pieces)
    assert pieces[0].id == row.id and all(piece.id.startswith(row.id) for piece in pieces)
    assert {piece.level for piece in pieces} == {"passage"}
    (short,) = smallest(WaitingCall("b" * 24, "", False, NOW, (Row(row.id, "Short.", "", NOW),)))
    assert short.level == "event"
