"""Letters of a mailbox as documents: a thread is a session, a letter a turn, From its speaker, Date its time.

The subject stands before the text of a thread's first letter, and of one that changes it. A letter that stands twice in
a thread (as sent and as the list sent it back) is taken once. What a letter quotes, its signature and its attachments
are left out; attachments are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from mnemic.ids import hash_parts
from pipelines.seen import SeenIds
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.json_values import Unusable
from pipelines.sources.letters import Head, Letter, bare_subject, read_letter
from pipelines.sources.mail_quotes import own_words
from pipelines.sources.text import open_failed
from pipelines.sources.threads import thread_orders
from pipelines.sources.transcript import Chat, LeftOut, Message, Transcript, usable_name, usable_text


@dataclass(frozen=True)
class Mailbox:
    """Where letters are, by their numbers: the heads of all, the bytes of one, and its locator.

    ``whole`` gives at most the bytes that a letter may have, and raises `OSError` or `Unusable`.
    """

    locator: str
    tenant: str
    heads: Iterable[Head | None]
    whole: Callable[[int], bytes]
    place: Callable[[int], str]


def correspondence(
    mailbox: Mailbox, limit: int, left: LeftOut, quotes: bool = False, signatures: bool = False
) -> Iterator[Document | Reject]:
    """The threads of a mailbox; with ``quotes`` and ``signatures`` these are kept."""
    for order in thread_orders(mailbox.heads):
        yield from _thread(mailbox, order.tolist(), limit, left, quotes, signatures)
    yield from left.told()


def _thread(
    mailbox: Mailbox, order: list[int], limit: int, left: LeftOut, quotes: bool, signatures: bool
) -> Iterator[Document | Reject]:
    transcript: Transcript | None = None
    subject = ""
    earlier = SeenIds()  # not the words: a thread may be as long as the mailbox
    for number in order:
        place = mailbox.place(number)
        try:
            letter = read_letter(mailbox.whole(number))
            bare = bare_subject(letter.subject)
            words = own_words(letter.text, not quotes, not signatures)
            content = words if bare == subject else "\n\n".join(filter(None, (letter.subject, words)))
            text = usable_text(content, "the letter")
        except (Unusable, OSError) as error:
            reason = str(error) if isinstance(error, Unusable) else open_failed(error)
            yield Reject(place, reason, getattr(error, "severity", "reject"))
            continue
        own = usable_name(letter.head.id) or str(number + 1)
        if not earlier.add(hash_parts(own, words)):
            left.add("standing twice in a thread", place, "letter")
            continue
        for _ in range(letter.attachments):
            left.add(
                "of letters; save those with text as files, and name a source that reads them", place, "attachment"
            )
        if transcript is None:
            metadata = {"title": bare} if bare else {}
            chat = Chat(f"{mailbox.locator}#", mailbox.tenant, mailbox.tenant, metadata)
            transcript = Transcript(chat, _root(letter, own), limit)
        subject = bare
        yield from transcript.add(Message(own, text, letter.speaker, letter.head.time, place))
    if transcript is not None:
        yield from transcript.close()


def _root(letter: Letter, own: str) -> str:
    """What a thread is called: the first letter that its first one names, which may not be there, or that itself."""
    return next(filter(None, map(usable_name, letter.head.references)), own)
