"""Where documents come from: what a source promises, and which sources there are.

A source answers two questions. `manifest()` says what is there without reading it (locator, size, stamp), so that a
build of unchanged sources costs a listing and nothing more: 0.3 s for a Python environment whose 41,000 files take
36 s to read. `read(item)` turns one item into documents, and into a `Reject` for everything that it could not take, so
that nothing is lost in silence. Items are read on any worker in any order: a document depends on its item alone.

A package adds a source of its own by an entry point in the group `mnemic.sources`, whose name is the source's `kind`
and whose value is a pydantic model that fulfils `Source`. A field ``root`` of it gets the folder of the recipe, from
which relative paths are read:

    [project.entry-points."mnemic.sources"]
    mailbox = "my_package.mailbox:Mailbox"
"""

from pipelines.sources.contracts import Document, FilePart, Item, Reject, Source, Turn

__all__ = ["Document", "FilePart", "Item", "Reject", "Source", "Turn"]
