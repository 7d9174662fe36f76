"""The cartridges of a release: a row is read when a text needs it, and those used last stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mnemic.errors import BankError, ModelError
from mnemic.latents.form import CartridgeForm
from mnemic.pages.page import Page, check_of
from mnemic.terminal import one_line
from mnemic.view import View, fitting

CACHE_BYTES = 1 << 30


class CartridgeShelf:
    """The cartridges of ``view`` that passed their gate, in the form ``form``. Threads may share one."""

    def __init__(self, view: View, form: CartridgeForm, *, cache_bytes: int = CACHE_BYTES) -> None:
        self.view, self.form, self.cache_bytes = view, form, cache_bytes
        with fitting(view, "The cartridges"):
            rows = view.dataset("cartridges").table(["of", "ok", "rows", "tokens", "start"]).to_pylist()
        self._place = {row["of"]: (place, row["rows"], _positions(row)) for place, row in enumerate(rows) if row["ok"]}
        self._refused = frozenset(row["of"] for row in rows if not row["ok"])
        self._open: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, of: object) -> bool:
        return of in self._place

    @property
    def ids(self) -> list[str]:
        """What those are of that passed: ids of documents or events, or paths of nodes, in order."""
        return sorted(self._place)

    def cartridge(self, of: str) -> Page:
        """The cartridge of a text. Raises `BankError` where there is none that passed its gate."""
        with self._lock:
            if of in self._open:
                self._open.move_to_end(of)
                return self._open[of]
        if of not in self._place:
            name = one_line(of, 40)
            if of in self._refused:
                raise BankError(
                    f"The cartridge of {name} loses more than its bound against the text, so it is never attached; put "
                    "the text into the prompt, or train it with more rows or epochs."
                )
            raise BankError(f"{self.view.path} has no cartridge of {name}; `bank.table('cartridges')` lists them.")
        rows = self._read(of)
        with self._lock:
            self._open[of] = rows
            used = sum(self.form.size(one.rows) for one in self._open.values())
            while len(self._open) > 1 and used > self.cache_bytes:
                used -= self.form.size(self._open.popitem(last=False)[1].rows)
        return rows

    def _read(self, of: str) -> Page:
        import torch

        place, rows, tokens = self._place[of]
        row = self.view.dataset("cartridges").take([place], ["places", "kv", "check"]).to_pylist()[0]
        if check_of(row["places"], row["kv"]) != row["check"]:
            raise ModelError(
                f"The cartridge of {one_line(of, 40)} is not what was written (its check differs); bring the dataset "
                "cartridges back from a copy, or build it again."
            )
        with torch.inference_mode(False):  # whoever asks first, a later pass may need gradients
            return self.form.unpacked(row["places"], row["kv"], rows, tokens, one_line(of, 40))


def _positions(row: Mapping[str, Any]) -> int:
    """What a cartridge takes up before a prompt: the first rows of a text were trained as a text of their own."""
    return int(row["rows"] if row["start"] == "first" else row["tokens"])
