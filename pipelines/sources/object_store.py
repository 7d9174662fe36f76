"""Folders of an object store, `s3://bucket/folder`: every object goes to the reader of its kind.

It is listed in requests of a thousand objects, and read through pyarrow's file systems, piece by piece where the format
allows it. Keys come from the environment (AWS_ACCESS_KEY_ID, ...) or from the machine's role, and never from a recipe.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from mnemic.errors import SourceError
from pipelines.sources.contracts import Document, Item, Reject
from pipelines.sources.inside import Inside
from pipelines.sources.text import text_fault

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

SCHEMES = ("s3", "gs", "abfs", "hdfs", "file")
CONNECT_SECONDS, REQUEST_SECONDS = 5, 30
_BUFFER = 1 << 20


class ObjectStoreFolder(Inside):
    """The objects below ``url``.

    ``endpoint`` and ``region`` of S3: default those of AWS_ENDPOINT_URL and AWS_REGION; ``anonymous``: without keys.
    ``only``: globs of the names that are read, default all. ``stamp``: how a changed object is known, by its `time` and
    size as the listing says them (default), or by its `etag`, which costs a request for each.
    """

    version: ClassVar[int] = 1

    kind: Literal["object-store"] = "object-store"
    name: str = "object-store"
    path: str = Field(default="", exclude=True, max_length=0)
    suffixes: list[str] = Field(default=[""], exclude=True)
    url: str
    endpoint: str | None = None
    region: str | None = None
    anonymous: bool = False
    only: list[str] = Field(default=[])
    stamp: Literal["time", "etag"] = "time"

    @field_validator("url")
    @classmethod
    def _has_a_scheme_of_a_store(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or (parts.scheme != "file" and not parts.netloc):
            raise ValueError(f"write the address as s3://bucket/folder; known are {', '.join(SCHEMES)}")
        if parts.username or parts.password or parts.query:
            raise ValueError("keys stand in the environment, not in the address")
        return url

    def identity(self) -> Mapping[str, object]:
        """Without the place: a folder may move to another bucket."""
        left_out = {"url", "endpoint", "region", "anonymous", "stamp"}
        return {name: value for name, value in super().identity().items() if name not in left_out}

    def manifest(self) -> list[Item]:
        from pyarrow import fs

        try:
            system, root = self._opened_system()
            infos = system.get_file_info(fs.FileSelector(root, recursive=True))
            items = [self._item(system, root, info) for info in infos if info.type == fs.FileType.File]
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:240].rstrip(".")
            raise SourceError(
                f"The folder {self.url} of the source '{self.name}' cannot be listed ({reason}); check the address, the"
                " keys in the environment and the network."
            ) from error
        listed = [item for item in items if item is not None]
        if not listed:
            raise SourceError(f"The source '{self.name}' found no object below {self.url}; correct `url` or `only`.")
        return sorted(listed, key=lambda item: item.locator)

    def _item(self, system: FileSystem, root: str, info: Any) -> Item | None:
        name = info.path.removeprefix(root).lstrip("/")
        if any(part.startswith(".") for part in name.split("/")) or text_fault(name):
            return None
        if not self.chosen(name, self.only):
            return None
        stamp = str(info.mtime_ns)
        if self.stamp == "etag":
            with system.open_input_stream(info.path) as stream:
                etag = (stream.metadata() or {}).get(b"ETag", b"")
            stamp = etag.decode("ascii", "replace") or stamp
        return Item(name, info.size, stamp)

    def read(self, item: Item, max_document_bytes: int) -> Iterator[Document | Reject]:
        try:
            system, root = self._opened_system()
            native = system.open_input_file(f"{root}/{item.locator}")
        except (OSError, ValueError) as error:
            yield Reject(item.locator, _lost(error))
            return
        file = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, native), _BUFFER))
        try:
            yield from self.documents(file, item.locator, max_document_bytes)
        except OSError as error:
            yield Reject(item.locator, _lost(error))

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        yield from self.member(file, locator, locator, max_document_bytes)

    def _opened_system(self) -> tuple[FileSystem, str]:
        """The file system, and the folder in it."""
        endpoint = self.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return _system(self.url, endpoint, region, self.anonymous, os.getpid())


@functools.lru_cache(maxsize=8)
def _system(
    url: str, endpoint: str | None, region: str | None, anonymous: bool, process: int
) -> tuple[FileSystem, str]:
    """A file system of this process, whose connections are used again."""
    from pyarrow import fs

    parts = urlsplit(url)
    if parts.scheme != "s3":
        system, root = fs.FileSystem.from_uri(url)
        return system, root.rstrip("/")
    place = urlsplit(endpoint or "")
    system = fs.S3FileSystem(
        anonymous=anonymous,
        region=region,
        endpoint_override=place.netloc or None,
        scheme=place.scheme or "https",
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
    )
    return system, f"{parts.netloc}{parts.path}".rstrip("/")


def _lost(error: Exception) -> str:
    reason = " ".join(str(error).split())[:160].rstrip(".")
    return f"The object cannot be read ({reason}); check the store, and build again."
