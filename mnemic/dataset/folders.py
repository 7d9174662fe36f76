"""Folders with names such as José, a#b and 100%, which Lance writes in percent codes when it makes a folder for tags.

The codes are right in an address and wrong on a disk: beside José there would be a second, empty tree Jos%C3%A9, and
where nothing can be made beside it, no tag.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9/_.+: -]*")
"""Paths in which Lance writes nothing otherwise."""


@contextmanager
def plain_path(uri: str) -> Iterator[str]:
    """A path of the local dataset at ``uri`` that is plain: its own, or that of a link for the length of the block.

    An address of an object store is left as it is, and so is the path where no link can be made.
    """
    with ExitStack() as stack:
        path = uri
        if "://" not in uri and not _PLAIN.fullmatch(uri):
            parent = None if _PLAIN.fullmatch(tempfile.gettempdir()) else "/tmp"
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mnemic-", dir=parent))
                link = Path(folder, "dataset.lance")
                link.symlink_to(Path(uri).absolute(), target_is_directory=True)
                path = str(link)
            except OSError:
                path = uri
        yield path
