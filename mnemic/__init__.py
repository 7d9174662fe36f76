"""mnemic: versioned memory that language models can load.

    import mnemic
    bank = mnemic.open_bank("memory/python-environment")
    events = bank.search("how do I tag a dataset version?", words=500)
    lm = bank.attach(model)

Importing mnemic loads neither torch nor lance; they come with the first bank that is opened. `build`, `plan` and
`evaluate` are the Python twins of the commands and need the extra `mnemic[pipeline]`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, entry_points
from importlib.metadata import version as _installed_version
from typing import TYPE_CHECKING, Any

from mnemic.errors import MissingExtra, MnemicError

if TYPE_CHECKING:
    from mnemic.bank import Bank, open_bank

__all__ = ["Bank", "MnemicError", "__version__", "build", "evaluate", "open_bank", "plan"]

try:
    __version__ = _installed_version("mnemic")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0"

_TWINS = ("build", "evaluate", "plan")


def __getattr__(name: str) -> Any:
    if name in ("Bank", "open_bank"):
        from mnemic import bank

        return getattr(bank, name)
    if name in _TWINS:
        return _twin(name)
    raise AttributeError(f"module 'mnemic' has no attribute {name!r}")


def _twin(name: str) -> Any:
    for entry in entry_points(group="mnemic.api", name=name):
        try:
            return entry.load()
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"mnemic.{name} needs {error.name}, which is not installed. "
                "Install it with `pip install 'mnemic[pipeline]'`."
            ) from error
    raise MissingExtra(f"mnemic.{name} is not registered. Install mnemic itself with `pip install 'mnemic[pipeline]'`.")


def __dir__() -> list[str]:
    return sorted(__all__)
