"""Mail: letters become threads with speakers and times, without quotations; mbox, EML and Maildir say the same."""

from __future__ import annotations

import io
import mailbox
import random
import time
import tracemalloc
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import chat_exports as exports
import pytest
from chat_exports import FORMATS, letter, mbox, read_all, word
from conversation_files import documents, rejects, said

from pipelines.sources.contracts import Document, Reject
from pipelines.sources.html_text import html_text
from pipelines.sources.json_values import Unusable
from pipelines.sources.letters import Head, bare_subject, decode, read_date, read_letter, unflow
from pipelines.sources.mail import Mail
from pipelines.sources.mail_quotes import own_words
from pipelines.sources.maildir import Maildir
from pipelines.sources.mbox import letters, unescape
from pipelines.sources.threads import thread_orders


def read(text: str | bytes, limit: int = 100_000, **fields: object) -> list[Document | Reject]:
    data = text.encode() if isinstance(text, str) else text
    return list(Mail(path="x", **fields).documents(io.BytesIO(data), "bakers.mbox", limit))  # type: ignore[arg-type]


def test_an_mbox_is_read_by_threads() -> None:
    threads = documents(read(mbox(4)))
    assert [(d.session, len(d.turns)) for d in threads] == [
        ("0@example.org", 2),
        ("1@example.org", 1),
        ("3@example.org", 1),
    ]
    thread = threads[0]
    assert said(thread) == ["Ada Lovelace: Bread\n\nword000x bread rises", "Ada Lovelace: word002x bread rises"]
    assert thread.turns[1].time == datetime(2026, 3, 2, 9, 30, 14, tzinfo=UTC)
    assert (thread.tenant, thread.speaker, thread.locator) == ("bakers", "Ada Lovelace", "bakers.mbox#0@example.org")
    text = documents(read(mbox(4), quotes="keep", signatures="keep"))[0].text
    assert "> word000x" in text and "Bakery" in text


def test_files_of_letters_have_the_content_of_the_mbox(tmp_path: Path) -> None:
    """Three ways to the same letters, and the standard library's own writer of a Maildir."""
    parts = [letter(n, 0 if n else None) for n in range(5)]
    separator = "From ada@example.org Mon Mar  2 10:30:12 2026\n"
    expected = [d.text for d in documents(read("".join(f"{separator}{part}\n" for part in parts)))]
    (tmp_path / "eml").mkdir()
    for number, part in enumerate(parts):
        (tmp_path / "eml" / f"{number}.eml").write_text(part)
    assert [d.text for d in documents(read_all(Mail(path="eml", root=str(tmp_path))))] == expected
    folder = mailbox.Maildir(tmp_path / "maildir")
    for part in parts:
        folder.add(part)
    assert [d.text for d in documents(read_all(Maildir(path="maildir", root=str(tmp_path))))] == expected


def test_flags_of_a_maildir_change_nothing_and_a_new_letter_does(tmp_path: Path) -> None:
    FORMATS["maildir"][1](tmp_path)
    (tmp_path / ".Sent" / "cur").mkdir(parents=True)
    (tmp_path / ".Sent" / "cur" / "9.host:2,").write_text(letter(9, None))
    source = Maildir(path=".", root=str(tmp_path))
    before = source.manifest()
    assert [item.locator for item in before] == ["*", ".Sent/*"]
    expected = read_all(source)
    (tmp_path / "new" / "0.host").rename(tmp_path / "cur" / "0.host:2,RS")
    assert source.manifest() == before and read_all(source) == expected
    (tmp_path / "new" / "10.host").write_text(letter(10, 0))
    after = source.manifest()
    assert after[0] != before[0] and after[1] == before[1]


def test_threads_are_the_connected_letters() -> None:
    """Against a search by hand, over letters that answer each other, letters that are missing, and themselves."""
    for seed in range(200):
        draw = random.Random(seed)
        ids = [str(draw.randrange(20)) if draw.random() < 0.9 else "" for _ in range(draw.randrange(1, 25))]
        answers = [tuple(str(draw.randrange(30)) for _ in range(draw.randrange(3))) for _ in ids]
        times = [draw.choice([None, datetime.fromtimestamp(draw.randrange(10**9), UTC)]) for _ in ids]
        heads = [Head(*head) for head in zip(ids, answers, times, strict=True)]
        edges: dict[object, set[object]] = defaultdict(set)
        for number, head in enumerate(heads):
            for other in (number, *head.references):
                edges[head.id or number].add(other)
                edges[other].add(head.id or number)
        threads = set()
        for number, head in enumerate(heads):
            reached, pending = set(), [head.id or number]
            while pending:
                if (node := pending.pop()) not in reached:
                    reached.add(node)
                    pending += edges[node]
            threads.add(frozenset(n for n, h in enumerate(heads) if (h.id or n) in reached))
        orders = [order.tolist() for order in thread_orders(heads)]
        assert {frozenset(order) for order in orders} == threads and sum(map(len, orders)) == len(heads)
        assert [min(order) for order in orders] == sorted(min(order) for order in orders)
        for order in orders:
            stated = [heads[number].time for number in order]
            if all(stated):
                assert stated == sorted(stated)  # type: ignore[type-var]


def test_letters_are_found_as_the_standard_library_finds_them(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "a.mbox")
    for number in range(6):
        box.add(letter(number, None).replace("bread rises", "bread rises\n\nFrom here on it is hot.\nFrom: nobody"))
    box.flush()
    data = (tmp_path / "a.mbox").read_bytes()
    places = list(letters(io.BytesIO(data), 0, len(data)))
    assert len(places) == 6
    for (begin, end), message in zip(places, box, strict=True):
        assert unescape(data[begin:end]).strip() == unescape(message.as_bytes()).strip()


@pytest.mark.parametrize("seed", range(5))
def test_separators_are_found_at_the_ends_of_blocks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = mbox(30).encode()
    expected = list(letters(io.BytesIO(data), 0, len(data)))
    monkeypatch.setattr("pipelines.sources.mbox.BLOCK", 37 + 911 * seed)
    monkeypatch.setattr("pipelines.sources.mbox._AHEAD", 512)
    assert list(letters(io.BytesIO(data), 0, len(data))) == expected


def test_text_that_begins_with_from_is_no_letter() -> None:
    text = letter(0, None).replace("bread rises", "bread\n\nFrom where I stand it rises.\n>From there too.")
    (document,) = documents(read(f"From ada@example.org Mon Mar  2 10:30:12 2026\n{text}"))
    assert "From where I stand" in document.text and "\nFrom there too." in document.text


def test_a_letter_that_stands_twice_is_taken_once_and_told() -> None:
    entries = read(mbox(2) + mbox(1))
    assert sum(len(d.turns) for d in documents(entries)) == 2
    assert "standing twice" in rejects(entries)[0].reason


PARTS = """From: =?utf-8?q?Ad=C3=A4?= <ada@example.org>
Subject: =?iso-8859-1?b?R3L832U=?=
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: multipart/alternative; boundary="c"

--c
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--c
Content-Type: text/html

<p>Other</p>
--c--
--b
Content-Type: application/pdf; name="a.pdf"
Content-Disposition: attachment; filename="a.pdf"
Content-Transfer-Encoding: base64

AAAA
--b--
"""


def test_parts_charsets_and_attachments() -> None:
    letter = read_letter(PARTS.encode())
    assert (letter.speaker, letter.subject, letter.text, letter.attachments) == ("Adä", "Grüße", "Grüße", 1)
    only_html = read_letter(PARTS.replace("Gr=FC=DFe", "").encode())
    assert only_html.text == "Other"
    notes = rejects(read(PARTS))
    assert [r.severity for r in notes] == ["note"] and notes[0].reason.startswith("Left out: 1 attachment")
    assert decode(b"\x93quoted\x94", "iso-8859-1") == "“quoted”" and decode("ü".encode(), "us-ascii") == "ü"
    assert decode(b"\xfc", "no-such-charset") == "ü" and decode(b"abc", "punycode") == "abc"


QUOTED = {
    "Yes.\n\nOn Mon, 2 Mar 2026 at 10:30, Ada <a@x.org> wrote:\n> How long?\n": "Yes.",
    "On Mon, 2 Mar 2026,\nAda <a@x.org> wrote:\n\n> How long?\nTwo hours.\n> And then?\nBake.": "Two hours.\nBake.",
    "Ja.\n\nAm 02.03.2026 um 10:30 schrieb Ada:\n> Wie lange?": "Ja.",
    "Le 2 mars 2026 à 10:30, Ada a écrit :\n> Combien ?\n\nDeux heures.": "Deux heures.",
    "Yes.\n\n-----Original Message-----\nFrom: Ada\nHow long?": "Yes.",
    "Yes.\n\n________________________________\nFrom: Ada <a@x.org>\nSent: Monday\nTo: Bob\nSubject: x\n\nHow?": "Yes.",
    "Two things:\n> first\nI agree.": "Two things:\nI agree.",
    "Yes.\n-- \nAda\nBakery": "Yes.",
    "> all of it\n> is quoted": "> all of it\n> is quoted",
    "a -- b\n--\nno\nlist\n" + "line\n" * 20: "a -- b\n--\nno\nlist\n" + "line\n" * 19 + "line",
}


@pytest.mark.parametrize("text", QUOTED)
def test_own_words(text: str) -> None:
    assert own_words(text) == QUOTED[text]


def test_html_becomes_lines() -> None:
    page = "<html><head><title>x</title><style>p{}</style></head><body><p>A &amp; b<br>c</p><!-- no --><ul><li>one</ul>"
    assert html_text(f"{page}<blockquote>old<div>er</div></blockquote>1 < 2<script>x</script> end") == (
        "A & b\nc\n\n- one\n\n> old\n> er\n\n1 < 2 end"
    )
    for hostile in ("<" * 50_000, "<!--" * 50_000, "<script>" * 50_000, "<blockquote>" * 20_000, "<a " * 50_000):
        assert isinstance(html_text(hostile), str)


def test_flowed_text_subjects_and_dates() -> None:
    assert unflow("one \ntwo\n> three \n> four\n-- \nAda") == "one two\n> three four\n-- \nAda"
    assert [bare_subject(s) for s in ("Re: AW: [x] Bread", "Bread", "Fwd: Re[2]: Bread")] == [
        "[x] Bread",
        "Bread",
        "Bread",
    ]
    assert read_date("Mon, 2 Mar 2026 10:30:12 +0100 (CET)") == datetime(2026, 3, 2, 9, 30, 12, tzinfo=UTC)
    for hostile in (
        "",
        "no",
        "1 Jan 99999 00:00 +0000",
        "1 Jan 0001 00:00 +9999",
        "9" * 5_000,
        "\0",
        "1 Jan 2026 00:00 +99999999",
    ):
        time = read_date(hostile)
        assert time is None or time.tzinfo is not None


def test_hostile_letters_are_sentences_or_text() -> None:
    long = "a" * 300_000
    for headers in (
        f"Content-Type: multipart/mixed; boundary=x{';x=' * 100_000}",
        f"Content-Type: text/plain{chr(59) + chr(34)}" * 50_000,
        "Subject: " + "=?a?q?" * 50_000,
        f"References: {'<1@x> ' * 40_000}",
        f"From: {'(' * 20_000}",
        "Date: " + "1" * 100_000,
        "X: " + long,
        "Content-Type: text/plain; charset=idna",
        'Content-Type: multipart/mixed; boundary="x"\n\n'
        + '--x\nContent-Type: multipart/mixed; boundary="x"\n\n' * 3_000,
    ):
        entries = read(f"From a@x Mon Mar  2 10:30:12 2026\nFrom: a@x\n{headers}\n\nbody\n")
        assert entries and all(entry.reason.endswith(".") for entry in rejects(entries))


def test_memory_does_not_grow_with_an_mbox(tmp_path: Path) -> None:
    peaks = []
    for count in (250, 750):  # both are larger than a block
        place = tmp_path / f"{count}.mbox"
        with place.open("w") as file:
            for number in range(count):
                file.write("From ada@example.org Mon Mar  2 10:30:12 2026\n")
                file.write(letter(number, number - 1 if number % 9 else None).replace("bread", "bread " * 1_600) + "\n")
        source = Mail(path=place.name, root=str(tmp_path))
        tracemalloc.start()
        assert sum(len(d.turns) for d in source.read(source.manifest()[0], 100_000) if isinstance(d, Document)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 250_000, peaks
    assert word(0) and exports.BEGIN


def test_no_letter_takes_long() -> None:
    started = time.process_time()
    assert unflow("a \n" * 1_000_000).startswith("a a a ")
    assert own_words("hello\n" + "\n>\n" * 40_000) == "hello"
    assert own_words("hello\n" + "\n\nOn 1 March Ada wrote:\n\n> a\n" * 20_000) == "hello"
    nested = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n' for n in range(250))
    with pytest.raises(Unusable, match="too many parts and lines"):
        read_letter(f"From: a@x\n{nested}{'x' * 3}\n{chr(10) * 1_000_000}".encode())
    assert time.process_time() - started < 20


def test_memory_does_not_grow_with_a_thread() -> None:
    peaks = []
    for count in (200, 600):
        letters_of_a_thread = (
            letter(number, 0).replace("bread", f"bread {number} " * 2_000) for number in range(count)
        )
        data = io.BytesIO(
            "".join(f"From a@x Mon Mar  2 10:30:12 2026\n{one}\n" for one in letters_of_a_thread).encode()
        )
        tracemalloc.start()
        sizes = [len(d.turns) for d in Mail(path="x").documents(data, "a.mbox", 100_000) if isinstance(d, Document)]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(sizes) == count
    assert peaks[1] < peaks[0] + 1_000_000, peaks
