"""Reading objects of a git repository that somebody else wrote: by `git cat-file`, and without running anything of it.

A repository's own settings can name programs: hooks, filters, a file-system monitor, a signature checker. None of the
commands here checks out, filters or verifies, the monitor and the hooks are switched off all the same, nothing is
fetched, and settings of the system and the user are not read.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from mnemic.errors import SourceError

_SAFE = (
    "--no-replace-objects",
    "--no-pager",
    *("-c", "core.fsmonitor="),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "protocol.allow=never"),
)
SECONDS = 120
"""How long a listing may take."""
MOST_LISTED = 1 << 28
"""Bytes of a listing: a dozen trees that name each other ten times list a billion files."""


@dataclass(frozen=True)
class CommittedFile:
    """A file of a revision. ``size`` is 0 for a submodule."""

    mode: str
    name: str  # of the object, hexadecimal
    size: int
    path: bytes


def git_folder(path: str) -> str:
    """The folder of git's own files of the repository at ``path``, bare or not; "" where it is none."""
    inner = os.path.join(path, ".git")
    if os.path.exists(inner):
        return inner
    bare = all(os.path.exists(os.path.join(path, name)) for name in ("HEAD", "objects", "refs"))
    return path if bare else ""


def environment() -> dict[str, str]:
    """What git is started with: nothing of ours that speaks to git, and no place for settings."""
    passed = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_"))}
    return {
        **passed,
        "LC_ALL": "C",
        "HOME": os.devnull,
        "XDG_CONFIG_HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    }


def command(folder: str, *arguments: str) -> list[str]:
    """A call of git on the repository whose own folder is ``folder``. Raises `SourceError` where there is no git."""
    git = shutil.which("git")
    if git is None:
        raise SourceError("A repository is read by git, which is not installed; install git.")
    # The owner of the files is no matter, since nothing of them is run.
    return [git, *_SAFE, "-c", f"safe.directory={os.path.realpath(folder)}", f"--git-dir={folder}", *arguments]


def output(folder: str, *arguments: str) -> bytes:
    """What a call of git prints. Raises `SourceError`."""
    late = threading.Event()
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            command(folder, *arguments), env=environment(), stdout=subprocess.PIPE, stderr=complaints
        ) as process,
    ):

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(SECONDS, end)
        timer.start()
        assert process.stdout is not None
        pieces, size = list[bytes](), 0
        try:
            while size <= MOST_LISTED and (piece := process.stdout.read(1 << 20)):
                pieces.append(piece)
                size += len(piece)
        finally:
            timer.cancel()
            if size > MOST_LISTED:
                process.kill()
        code = process.wait()
        complaints.seek(0)
        reason = " ".join(complaints.read(2_000).decode("utf-8", "replace").split())[:200]
    if late.is_set():
        raise SourceError(f"git took more than {SECONDS} s to list the repository; copy it to a faster disk.")
    if size > MOST_LISTED:
        raise SourceError(
            f"git lists more than {MOST_LISTED:,} bytes of names; check the repository out, and name the folder."
        )
    if code:
        raise SourceError(f"git cannot read the repository ({reason}); check it with `git fsck`.")
    return b"".join(pieces)


def commit_of(folder: str, revision: str) -> str:
    """The commit that a branch, tag or other name of a revision stands for. Raises `SourceError`."""
    try:
        return output(folder, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except SourceError as error:
        raise SourceError(
            f"The repository has no revision '{revision}'; name a branch, a tag or a commit in `revision`. ({error})"
        ) from error


def files_of(folder: str, commit: str) -> Iterator[CommittedFile]:
    """The files of a commit in the order of their paths."""
    for line in output(folder, "ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0"):
        if line:
            facts, _, path = line.partition(b"\t")
            mode, _, name, size = facts.decode().split()
            yield CommittedFile(mode, name, int(size) if size.isdigit() else 0, path)


class Objects:
    """A process of `git cat-file --batch`, which is asked for one object after the other."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, name: str) -> bytes:
        """The content of the object with this hexadecimal ``name``. Raises `SourceError`."""
        with self._lock:
            try:
                return self._read(name)
            except (OSError, ValueError) as error:
                self.close()
                raise SourceError(
                    f"git cannot give the object {name[:12]} ({error}); check with `git fsck`."
                ) from error

    def _read(self, name: str) -> bytes:
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(
                command(self._folder, "cat-file", "--batch"),
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            atexit.register(self.close)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{name}\n".encode())
        process.stdin.flush()
        head = process.stdout.readline().split()
        if len(head) != 3 or head[0] != name.encode():
            raise ValueError("it is missing" if head[1:] == [b"missing"] else "it is damaged")
        size = int(head[2])
        data = process.stdout.read(size + 1)
        if len(data) != size + 1:
            raise ValueError("it is cut off")
        return data[:-1]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()


def objects(folder: str) -> Objects:
    """The objects of a repository; one process of this one reads them all."""
    return _objects(folder, os.getpid())


@functools.lru_cache(maxsize=8)
def _objects(folder: str, process: int) -> Objects:
    return Objects(folder)
