"""The checks of a dataset before each change, while its bank is being built."""

from __future__ import annotations

from typing import NoReturn, Protocol, TypeVar

DatasetT_contra = TypeVar("DatasetT_contra", contravariant=True)

NUMBER = "mnemic.number"
"""Property of a commit: the number of the claim under which it was made."""


class Guard(Protocol[DatasetT_contra]):
    """What a change of a dataset asks, so that a builder without the lease changes nothing (`mnemic.dataset.fence`)."""

    @property
    def number(self) -> int:
        """Of the claim."""

    def check(self) -> None:
        """Raise when the lease was lost."""

    def confirm(self) -> None:
        """The same, by asking the row of the lease itself."""

    def expect(self, dataset: DatasetT_contra, version: int) -> None:
        """Raise when something on the way to ``version`` was done by a builder without the lease."""

    def landed(self, uri: str, version: int) -> None:
        """Note a version that was made under this guard."""

    def refused(self, dataset: DatasetT_contra, error: Exception) -> NoReturn:
        """Raise the sentence for a commit that another one was in the way of."""
