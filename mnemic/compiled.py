"""Functions that numba compiles: without Python objects, without the interpreter's lock, cached on disk.

The cache lies beside the code, or in the user's cache folder where that cannot be written; `NUMBA_CACHE_DIR` names
another. Sums of floats are added in the order that the code says, without fused or reassociated operations, so every
machine computes the same. Only `summing` and `multiplying` leave the order to the compiler: their sums become vector
instructions, and are the same on one type of machine. numba is imported at the first call: `mnemic plan` has no use for
it. Without numba a function runs as it stands.

Of the processes that come to compile at one time, such as workers that start together, one does, and the others find
its work in the cache: all functions of a build take forty seconds of a processor.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@functools.cache
def can_compile() -> bool:
    """Whether numba is installed, which building a bank needs and loading one does not."""
    return importlib.util.find_spec("numba") is not None


def is_compiled(module: str) -> bool:
    """Whether functions of ``module`` of this house are cached since its file changed, so that nobody compiles them."""
    source = Path(__file__).resolve().parent.parent.joinpath(*module.split(".")).with_suffix(".py")
    named = os.environ.get("NUMBA_CACHE_DIR")
    users = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "numba")
    indexes = [*Path(named or users).glob(f"*/{source.stem}.*.nbi")]
    if not named:
        indexes += (source.parent / "__pycache__").glob(f"{source.stem}.*.nbi")
    try:
        changed = source.stat().st_mtime
        return any(index.stat().st_mtime >= changed for index in indexes)
    except OSError:
        return False


def compiled(function: FunctionT) -> FunctionT:
    """Compile at the first call with arguments of new types."""
    return cast(FunctionT, _Compiled(function))


def inlined(function: FunctionT) -> FunctionT:
    """Compile into every compiled function that calls it."""
    return cast(FunctionT, _Compiled(function, inline="always"))


def summing(function: FunctionT) -> FunctionT:
    """Compile a sum of floats that may be added in the order that suits the processor."""
    return cast(FunctionT, _Compiled(function, fastmath={"reassoc", "nsz"}))


def multiplying(function: FunctionT) -> FunctionT:
    """Compile a sum of products in the order that suits the processor, each product rounded with its addition."""
    return cast(FunctionT, _Compiled(function, fastmath={"reassoc", "nsz", "contract"}))


def interpreted(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as it stands, for where numba is not installed: it computes the same, a hundred times as slowly.

    Whole numbers go round at their largest value there too, and say nothing about it.
    """
    import numpy as np

    def call(*arguments: Any) -> Any:
        with np.errstate(over="ignore"):
            return function(*arguments)

    return call


_PATIENCE = 60.0
"""Seconds for which another process is waited for; then it may have been stopped, and nobody is waited for any more."""


@functools.cache
def _turn(process: int) -> Any:
    """The lock of the process of this number, which a fork cannot use: a `filelock.FileLock`, which nests."""
    from filelock import FileLock

    folder = os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).parent / "__pycache__"
    return FileLock(Path(folder, "compiling.lock"), timeout=_PATIENCE)


class _Compiled:
    """A function that becomes numba's dispatcher when it is called, and with it those that it calls."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        functools.update_wrapper(self, function)
        self._function, self._options = function, options

    def __call__(self, *arguments: Any) -> Any:
        return self.dispatcher(*arguments)

    @functools.cached_property
    def dispatcher(self) -> Callable[..., Any]:
        function = cast(types.FunctionType, self._function)
        names = {
            name: value.dispatcher if isinstance(value, _Compiled) else value
            for name, value in function.__globals__.items()
            if name in function.__code__.co_names or name.startswith("__")
        }
        bare = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__)
        if not can_compile():
            return interpreted(bare)
        from numba import njit

        functools.update_wrapper(bare, function)
        del bare.__wrapped__  # type: ignore[attr-defined]
        dispatcher: Any = njit(cache=True, nogil=True, boundscheck=False, **self._options)(bare)
        if isinstance(dispatcher, types.FunctionType):  # numba is told not to compile
            return dispatcher
        compile_or_load = dispatcher.compile

        def in_turn(signature: Any) -> Any:
            turn = _turn(os.getpid())
            with contextlib.ExitStack() as opened:
                try:
                    opened.enter_context(turn)
                except TimeoutError:
                    turn.timeout = 0
                except (OSError, NotImplementedError):
                    pass  # no file can be written there, or the file system knows no locks
                return compile_or_load(signature)

        dispatcher.compile = in_turn
        return cast(Callable[..., Any], dispatcher)
