"""Memories that open what they need when they are first asked, and whose copies open it again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Self


class Reopened:
    """A frozen dataclass whose other attributes are opened from its fields, so a copy in another process is these."""

    shared: ClassVar[tuple[str, ...]] = ()
    """Those of the other attributes that no setting of `with_settings` changes."""

    def with_settings(self, **settings: Any) -> Self:
        """The same memory with other fields; it shares what this one has opened."""
        other = replace(self, **settings)  # type: ignore[type-var]
        other.__dict__.update({name: value for name, value in vars(self).items() if name in self.shared})
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
