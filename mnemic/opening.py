"""Opening a file that somebody else may change at the same moment.

Looking at a name and then opening it asks twice, and the name can lead elsewhere the second time: to a file outside of
its folder, or to a pipe, which waits for ever. So a file is opened from its folder down, one name after the other,
following no link and waiting for nobody, and then it is the open file that is looked at.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_LINKED = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR)
"""Errors of systems for a link, or for something else than a folder, where no link is to be followed."""

BY_FOLDER = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd
"""Whether this system opens a name in a folder that is open."""


class NotRegular(OSError):
    """A folder, a pipe, a socket or a device stands at the place of a file."""


class Swapped(OSError):
    """A link stands where a file or a folder stood a moment ago."""


def open_regular(path: str, root: str | None = None) -> BinaryIO:
    """The regular file at ``path``, open for reading in binary; its status is that of the open file.

    Both are resolved (`os.path.realpath`). ``path`` lies in the folder ``root``, below which no name may be a link by
    now; without ``root`` that holds for the last name alone. Raises `NotRegular`, `Swapped` or another `OSError`.
    """
    try:
        if root is None or not BY_FOLDER:
            file = _open(path, None)
            if os.path.realpath(path) != path and root is not None:
                file.close()
                raise Swapped(errno.ELOOP, "a link stands there now")
            return file
        *folders, name = os.path.relpath(path, root).split(os.sep)
        if os.pardir in (*folders, name):
            raise Swapped(errno.ELOOP, "it is outside of the folder")
        folder = os.open(root, _FOLDER)
        try:
            for inner in folders:
                outer, folder = folder, os.open(inner, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                os.close(outer)
            return _open(name, folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in _LINKED and not isinstance(error, Swapped | NotRegular):
            raise Swapped(error.errno, "a link stands there now") from error
        raise


def _open(name: str, folder: int | None) -> BinaryIO:
    """The regular file ``name`` of an open folder. A device is looked at first, since opening one can do things."""
    if not stat.S_ISLNK(mode := os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        _only_regular(mode)
    descriptor = os.open(name, _FILE, dir_fd=folder)
    try:
        _only_regular(os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _only_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegular(errno.EINVAL, "not a regular file")
