"""A process forked from one that had used Lance cannot use it, so every use there is refused with a sentence.

In 30 children of an idle parent 5 searches crashed and one waited for ever, also of a bank that the child had opened
itself. A fork before the first use is harmless: the child begins with a Lance of its own.
"""

from __future__ import annotations

import os

from mnemic.errors import BankError


class _Lance:
    """Whether this process, or one that it was forked from, has used Lance."""

    used = False
    barred = False

    @classmethod
    def bar(cls) -> None:
        cls.barred = cls.used


def using_lance(uri: str) -> None:
    """To be called before Lance is. Raises `BankError` in a process that must not use it."""
    if _Lance.barred:
        raise BankError(
            f"{uri} cannot be read here: this process was forked from one that had used a bank already, and Lance does "
            "not work across a fork. The bank must be opened in the child, by a parent that has opened none: open it "
            "after the fork (post_fork of gunicorn, worker_init_fn of a DataLoader), or start processes by spawn or "
            "forkserver."
        )
    _Lance.used = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Lance.bar)
