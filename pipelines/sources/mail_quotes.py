"""What somebody wrote in a letter: without what it quotes, and without the signature.

Quoted are lines that begin with ">", with the line before that says who wrote them, and everything below "Original
Message" or a block of From, Sent, To and Subject as Outlook writes it. A signature begins with "-- " (RFC 3676) and has
few lines. A letter that would be empty then, such as one that only forwards another, stays whole.
"""

from __future__ import annotations

import re

_ORIGINAL = re.compile(
    r"[ \t]*-{2,}[ \t]*(?:original(?:e|es)? (?:message|appointment)|ursprüngliche nachricht|message d'origine"
    r"|mensaje original|messaggio originale|oorspronkelijk bericht|mensagem original|исходное сообщение"
    r"|oprindelig meddelelse|ursprungligt meddelande|alkuperäinen viesti|wiadomość oryginalna)[ \t]*-{2,}[ \t]*",
    re.IGNORECASE,
)
_FROM = re.compile(r"\*?(?:from|von|de|da|van|från|fra|od|от|发件人|差出人)\*?[ \t]?[:：]\*? ?\S", re.IGNORECASE)
_SENT = re.compile(
    r"\*?(?:sent|date|gesendet|datum|envoyé|enviado|fecha|data|inviato|verzonden|skickat|sendt|wysłano|отправлено|дата"
    r"|发送时间|送信日時)\*?[ \t]?[:：]",
    re.IGNORECASE,
)
_WROTE = re.compile(
    r"wrote|writes|schrieb|écrit|escribi|scritto|schreef|escreveu|написал|пишет|kirjoitti|skrev|pisze|napisał|写道|@",
    re.IGNORECASE,
)
_LONGEST_SIGNATURE = 12
_LONGEST_ATTRIBUTION = 300


def own_words(text: str, quotes: bool = True, signature: bool = True) -> str:
    """``text`` without its quotations (``quotes``) and its signature (``signature``)."""
    lines = text.split("\n")
    if quotes:
        lines = _without_quotes(lines)
    if signature:
        lines = _without_signature(lines)
    words = re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip()
    return words or text.strip()


def _without_quotes(lines: list[str]) -> list[str]:
    own: list[str] = []
    filled: list[int] = []  # places of the lines in `own` that are not blank: between two may be a million that are
    for number, line in enumerate(lines):
        if _ORIGINAL.fullmatch(line) or _is_header_block(lines, number):
            while own and not own[-1].strip("_ \t"):  # a rule of Outlook's
                own.pop()
            break
        if not line.startswith(">"):
            filled += [len(own)] if line.strip() else []
            own.append(line)
        elif number == 0 or not lines[number - 1].startswith(">"):
            _drop_attribution(own, filled)
    return own


def _is_header_block(lines: list[str], number: int) -> bool:
    """Whether From stands here, with Sent in one of the next two lines."""
    if not _FROM.match(lines[number].lstrip()):
        return False
    return any(_SENT.match(line.lstrip()) for line in lines[number + 1 : number + 3])


def _drop_attribution(own: list[str], filled: list[int]) -> None:
    """Drop "On Monday Ada wrote:" from the end, which may be broken into two or three lines."""
    last = filled[-1] + 1 if filled else 0
    if not last or not own[last - 1].rstrip().endswith((":", "：")):
        return
    for count in (1, 2, 3):
        part = own[max(0, last - count) : last]
        joined = " ".join(line.strip() for line in part)
        if len(part) < count or len(joined) > _LONGEST_ATTRIBUTION or not part[0].strip():
            return
        if _WROTE.search(joined) and (re.search(r"\d", joined) or count == 3 or _stands_alone(own, last - count)):
            del own[last - count :]
            while filled and filled[-1] >= len(own):
                filled.pop()
            return


def _stands_alone(own: list[str], number: int) -> bool:
    return number == 0 or not own[number - 1].strip()


def _without_signature(lines: list[str]) -> list[str]:
    for number in range(len(lines) - 1, -1, -1):
        if sum(bool(line.strip()) for line in lines[number:]) > _LONGEST_SIGNATURE + 1:
            break
        if lines[number].rstrip("\r") in ("-- ", "--"):
            return lines[:number]
        if len(lines) - number > 200:
            break
    return lines
