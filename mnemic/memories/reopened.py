"""Memories that open what they need when they are first asked, and whose copies open it again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Reopened:
    """A frozen dataclass whose other attributes are opened from its fields, so a copy in another process is these."""

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
