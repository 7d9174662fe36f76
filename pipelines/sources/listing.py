"""What a source lists, checked: sources of other packages may give anything."""

from __future__ import annotations

from mnemic.errors import MnemicError, SourceError
from pipelines.sources.contracts import Item, Source


def items_of(source: Source) -> list[Item]:
    """The items to read. An error of the source's package that is no sentence becomes one."""
    try:
        items = list(source.manifest())
        if not all(isinstance(item, Item) for item in items):
            raise TypeError("`manifest` gives values that are no Item")
    except (MnemicError, OSError):
        raise
    except Exception as error:
        raise SourceError(
            f"The source {source.name!r} of kind {source.kind!r} cannot list what it has ({type(error).__name__}: "
            f"{error}). If another package offers it, repair or uninstall that."
        ) from error
    return items
