"""WhatsApp's chats: every phone writes dates its own way, and what cannot be told from all lines is refused."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime, timedelta

import pytest
from conversation_files import documents, rejects, said
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.whatsapp import WhatsApp, chat_name, recognise
from pipelines.sources.whatsapp_lines import decide, read_stamp

LINES = {
    "12/31/23, 11:59\u202fPM - Ada: x": ((12, 31, 23), (23, 59, 0)),
    "12/31/23, 12:05 AM - Ada: x": ((12, 31, 23), (0, 5, 0)),
    "[31.12.23, 23:59:07] Ada: x": ((31, 12, 23), (23, 59, 7)),
    "\u200e[31.12.2023 klo 23.59.07] Ada: x": ((31, 12, 2023), (23, 59, 7)),
    "2023/12/31 下午11:59 - 安娜: x": ((2023, 12, 31), (23, 59, 0)),
    "2023. 12. 31. 오후 11:59 - 안나: x": ((2023, 12, 31), (23, 59, 0)),
    "2023. 12. 31. 23:59 - Anna: x": ((2023, 12, 31), (23, 59, 0)),
    "31/12/2023 23:59 - Ada: x": ((31, 12, 2023), (23, 59, 0)),
    "31/12/2023, 11:59 p. m. - Ada: x": ((31, 12, 2023), (23, 59, 0)),
    "31/12/2023 à 23:59 - Ada: x": ((31, 12, 2023), (23, 59, 0)),
    "31/12/23, 11:59 μ.μ. - Άννα: x": ((31, 12, 23), (23, 59, 0)),
    "31-12-2023 23:59 - Ada: x": ((31, 12, 2023), (23, 59, 0)),
    "2023-12-31 23:59 - Ada: x": ((2023, 12, 31), (23, 59, 0)),
    "٣١/١٢/٢٠٢٣، ١١:٥٩ م - آدا: x": ((31, 12, 2023), (23, 59, 0)),
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_many_phones(line: str) -> None:
    stamp = read_stamp(line)
    assert stamp is not None and (stamp.numbers, stamp.time) == LINES[line]
    assert line[stamp.end :].endswith(": x") and not line[stamp.end :].startswith((" ", "-", "]"))


@pytest.mark.parametrize("line", ["1/2 at 3:40 - no", "3.5.2023 10:00 hi", "Ada: 1/2/23", "", "1/2/23, 13:00 PM - x"])
def test_other_lines_go_on_with_a_message(line: str) -> None:
    assert read_stamp(line) is None


def order(*dates: str) -> str:
    return decide(stamp for date in dates if (stamp := read_stamp(f"{date}, 10:00 - Ada: x")) is not None)


def test_the_order_of_dates_is_told_from_all_lines() -> None:
    assert order("1/2/24", "1/13/24") == "month-first" and order("13/1/24", "1/2/24") == "day-first"
    assert order("2024/1/2") == order("2024-01-02") == "year-first"
    assert order("1/2/24", "1/3/24", "2/1/24") == "month-first", "time does not run backwards"
    assert order("1/2/24") == order("1/2/24", "1/3/24") == "", "a tie"
    assert order("5/5/24", "6/6/24") == "day-first", "either is the same"
    assert order("1.2.24", "1.3.24") == "day-first", "no month comes first before a dot"
    assert order(*["13/1/24"] * 20, "1/13/24") == "day-first", "one wrong line of many"
    assert order(*["13/1/24"] * 5, *["1/13/24"] * 5) == ""


@given(
    start=st.datetimes(datetime(2010, 1, 1), datetime(2039, 1, 1)),
    steps=st.lists(st.integers(0, 40), min_size=1, max_size=40),
    form=st.sampled_from(["{d}/{m}/{y}", "{m}/{d}/{y}"]),
)
def test_the_order_is_never_the_wrong_one(start: datetime, steps: list[int], form: str) -> None:
    times = [start]
    for step in steps:
        times.append(times[-1] + timedelta(days=step))
    answer = order(*(form.format(d=t.day, m=t.month, y=t.year % 100) for t in times))
    if answer == ("month-first" if form.startswith("{d}") else "day-first"):
        # only where both orders fit all lines, and one of them is in order too: nothing can tell then
        assert all(t.day <= 12 for t in times)
        swapped = [(t.year, t.day, t.month) for t in times]
        assert swapped == sorted(swapped) or all(t.day == t.month for t in times)


def read(text: str, name: str = "WhatsApp Chat with Ada.txt", **fields: object) -> list[Document | Reject]:
    return list(WhatsApp(path="x", **fields).documents(io.BytesIO(text.encode()), name, 10_000))  # type: ignore[arg-type]


def test_a_chat() -> None:
    entries = read(
        "\u200e[31/12/23, 11:59:07 PM] Ada: \u200eMessages and calls are end-to-end encrypted.\r\n"
        "[31/12/23, 11:59:08 PM] Ada: Happy\r\nnew year <3\r\n"
        "\u200e[31/12/23, 11:59:09 PM] Bob: \u200eimage omitted\r\n"
        "[31/12/23, 11:59:10 PM] Bob: look \u200e<attached: 0001-PHOTO.jpg>\r\n"
        "[31/12/23, 11:59:11 PM] \u202a+49 170 1234\u202c: fixed it \u200e<This message was edited>\r\n"
        "[1/1/24, 8:00:00 AM] Ada: morning: coffee?\r\n",
        "WhatsApp Chat - Bakers/_chat.txt",
        time_zone="Europe/Berlin",
    )
    night, morning = documents(entries)
    assert said(night) == ["Ada: Happy\nnew year <3", "Bob: look", "+49 170 1234: fixed it"]
    assert night.turns[0].time == datetime(2023, 12, 31, 22, 59, 8, tzinfo=UTC)
    assert said(morning) == ["Ada: morning: coffee?"] and morning.session == "2024-01-01T07:00:00Z"
    assert {d.tenant for d in documents(entries)} == {"Bakers"}
    assert [r.severity for r in rejects(entries)] == ["note"]


def test_android_and_its_media() -> None:
    entries = read(
        "12/31/23, 11:59 PM - Messages are end-to-end encrypted.\n12/31/23, 11:59 PM - Ada: <Media omitted>\n"
        "12/31/23, 11:59 PM - Ada: IMG-20231231-WA0001.jpg (file attached)\nlook at this\n"
        "12/31/23, 11:59 PM - Bob: a <b> c\n"
    )
    assert [said(d) for d in documents(entries)] == [["Ada: look at this", "Bob: a <b> c"]]
    assert len(rejects(entries)) == 2 and all(r.severity == "note" for r in rejects(entries))


def test_a_tie_is_refused_with_the_way_out() -> None:
    text = "1/2/24, 10:00 - Ada: one\n1/3/24, 10:00 - Ada: two\n"
    (refused,) = read(text)
    assert isinstance(refused, Reject) and "dates: day-first" in refused.reason
    times = {dates: documents(read(text, dates=dates))[0].time for dates in ("day-first", "month-first")}
    february, january = datetime(2024, 2, 1, 10, tzinfo=UTC), datetime(2024, 1, 2, 10, tzinfo=UTC)
    assert times == {"day-first": february, "month-first": january}


def test_a_time_zone_that_there_is_not() -> None:
    for zone in ("Europe/Berlinn", "/etc/passwd", "../x", "\0", ""):
        with pytest.raises(ValidationError, match="time zone"):
            WhatsApp(path="x", time_zone=zone)


def test_names_of_chats() -> None:
    assert chat_name("WhatsApp Chat with Ada.txt") == chat_name("Chat de WhatsApp con Ada.txt") == "Ada"
    assert chat_name("old/WhatsApp Chat - Bakers/_chat.txt") == "old/Bakers"
    assert chat_name("phone/WhatsApp-Chat.txt") == "phone/WhatsApp-Chat" and chat_name("_chat.txt") == "_chat"


@pytest.mark.parametrize(
    "words", ["\u200e" * 20_000 + "x", "Ada: " + "\u200e" * 20_000 + "x" * 300, f"Ada: x{' ' * 100_000}x>"]
)
def test_a_line_full_of_marks_or_spaces_takes_no_longer_than_another(words: str) -> None:
    started = time.process_time()
    read(f"[31.12.23, 23:59:07] Ada: hello\n[31.12.23, 23:59:08] {words}\n")
    assert recognise("_chat.txt", f"[31.12.23, 23:59:08] {words[:5_000]}\n[31.12.23, 23:59:07] Ada: hello\n".encode())
    assert time.process_time() - started < 5
