"""Datasets that Hugging Face's `datasets` saved to disk, read without that library.

A dataset is a folder with `state.json`, which names its Arrow files, and `dataset_info.json`; one in splits is a folder
of such folders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Literal

from pydantic import Field

from mnemic.errors import SourceError
from pipelines.sources.arrow import STREAM, ArrowFiles
from pipelines.sources.columnar import proposed
from pipelines.sources.contracts import Document, Item, Reject


def recognise(name: str, head: bytes) -> bool:
    """No file is one."""
    return False


def recognise_folder(path: str, names: frozenset[str]) -> bool:
    """A dataset that was saved whole, or in splits; a folder of Arrow files alone is none."""
    return "dataset_dict.json" in names or {"state.json", "dataset_info.json"} <= names


def propose_folder(path: str, names: frozenset[str]) -> dict[str, object]:
    """As `propose`, by the first Arrow file below a folder that `datasets` saved."""
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted(files):
            if name.endswith(".arrow"):
                return proposed(os.path.join(folder, name), name, STREAM)
    return {}


class HuggingFace(ArrowFiles):
    """Folders that `datasets` saved (`save_to_disk`) below ``path``: the Arrow files that each `state.json` names."""

    version: ClassVar[int] = 1
    reads: ClassVar[frozenset[str]] = frozenset({"arrow"})

    kind: Literal["hf-dataset"] = "hf-dataset"  # type: ignore[assignment]
    name: str = "hf-dataset"
    suffixes: list[str] = Field(default=["/state.json", ".arrow"], min_length=1)

    def manifest(self) -> list[Item]:
        items = super().manifest()
        listed = {item.locator: item for item in items}
        chosen: list[Item] = []
        for item in items:
            if os.path.basename(item.locator) == "state.json":
                chosen += self._files_of(item, listed)
        if not chosen:
            raise SourceError(
                f"The source '{self.name}' found no `state.json` of a saved dataset below its path; point `path` at the"
                " folder that `save_to_disk` wrote."
            )
        return sorted(chosen, key=lambda item: item.locator)

    def _files_of(self, state: Item, listed: dict[str, Item]) -> list[Item]:
        file = self._opened(state)
        if isinstance(file, Reject):
            return [state]
        with file:
            data = file.read(1 << 20)
        folder = os.path.dirname(state.locator)
        names = _data_files(data)
        files = [listed.get(f"{folder}/{name}" if folder else name) for name in names or []]
        if names is None or None in files:
            return [state]  # reading it says what is wrong
        return [file for file in files if file is not None]

    def documents(self, file: BinaryIO, locator: str, max_document_bytes: int) -> Iterator[Document | Reject]:
        if os.path.basename(locator) != "state.json":
            yield from super().documents(file, locator, max_document_bytes)
            return
        with file:
            names = _data_files(file.read(1 << 20))
        if names is None:
            reason = (
                "The dataset was saved with a selection of rows beside its files, or its state cannot be read; save it"
                " again after `flatten_indices()`."
            )
        else:
            shown = ", ".join(name[:80] for name in names[:3])
            reason = f"A file of the dataset is missing ({shown}); copy the folder again."
        yield Reject(locator, reason)


def _data_files(state: bytes) -> list[str] | None:
    """The names of the Arrow files that a `state.json` lists; None where it says nothing usable."""
    try:
        content = json.loads(state)
        if content.get("_indices_data_files") or content.get("_indices_files"):
            return None
        names = [entry["filename"] for entry in content["_data_files"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    plain = all(isinstance(name, str) and name and "/" not in name and not name.startswith(".") for name in names)
    return names if plain and names else None
