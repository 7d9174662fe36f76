"""The epochs of one cartridge, what it loses against its text, and its gate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mnemic.errors import StepError
from mnemic.ids import hash_parts
from mnemic.latents.form import CartridgeForm
from mnemic.pages.page import Page, check_of
from operators.contracts import Progress
from operators.latents.cartridges import FIRST, PICKED, TrainCartridges
from operators.latents.picking import attention_received, first_rows, picked_rows, rows_of_pages
from operators.latents.reader import BehindRows, RotatedRows
from operators.latents.settings import LatentEpoch, LatentText
from operators.latents.study import studied
from operators.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    import torch

    from operators.latents.cartridge_student import TrainedRows

KINDS = ("sampled", "reread")
"""Sequences that only measure: continuations, and pieces of the text."""


@dataclass(frozen=True)
class Losses:
    """Nats a held-out token: ``loss`` of the tokens, ``kl`` from the model that has the text, by kind of sequence."""

    loss: Mapping[str, float]
    kl: Mapping[str, float]

    @property
    def mean_loss(self) -> float:
        return sum(self.loss.values()) / len(self.loss)

    @property
    def mean_kl(self) -> float:
        return sum(self.kl.values()) / len(self.kl)


def passes_gate(none: float, own: float, bound: float) -> bool:
    """Whether a cartridge may be attached: it loses at most the share ``bound`` of what the text is worth.

    ``none`` and ``own`` are the KL from the model that has the text, in nats a token, alone and with the cartridge. A
    text that is worth nothing has no cartridge that gains anything.
    """
    return own < none and own <= bound * none


class CartridgeTrainer:
    """Trains the cartridges of ``settings`` with an open ``model``."""

    def __init__(self, settings: TrainCartridges, model: Any, tokenizer: Any) -> None:
        self.settings, self.reader = settings, BehindRows(model)
        if settings.max_tokens + settings.sequence > self.reader.longest:
            raise StepError(
                f"The model reads {self.reader.longest:,} tokens at most, and cartridges of {settings.max_tokens:,} "
                f"with sequences of {settings.sequence:,} behind them need more; lower `max_tokens`."
            )
        self.sink_ids = [int(one) for one in tokenizer(settings.sink, add_special_tokens=False)["input_ids"]]
        phrases = (tokenizer(one, add_special_tokens=False)["input_ids"] for one in settings.seeds)
        self.seeds = [[int(token) for token in one[: settings.sequence - 1]] for one in phrases]
        self.form: CartridgeForm = replace(self.reader.form, type=settings.stored)
        self._text: tuple[str, Page, torch.Tensor] | None = None

    @cached_property
    def sink(self) -> Page:
        """The rows of the sink as they are stored, so that a cartridge is trained behind what it will stand behind."""
        import torch

        rows = self.reader.rows_of(torch.tensor(self.sink_ids))
        return self.rounded(rows)

    def config(self) -> tuple[dict[str, Any], bytes]:
        config = {**self.form.config(), "sink": self.sink_ids, "level": self.settings.level}
        return config, self.form.packed(self.sink)[1]

    def epoch(self, text: LatentText, state: bytes | None, progress: Progress) -> LatentEpoch:
        memory = self.opened(text, state)
        checkpoint = self._next(memory, text, state, progress)
        if checkpoint.epoch < self.settings.epochs:
            return LatentEpoch(checkpoint)
        return LatentEpoch(checkpoint, self.row(text, memory, checkpoint))

    def opened(self, text: LatentText, state: bytes | None = None) -> TrainedRows:
        """The rows of ``text``: those of a checkpoint, or those that it starts from."""
        from operators.latents.cartridge_student import TrainedRows
        from operators.train.checkpoint import memory_tensors

        if state is not None:
            return TrainedRows.of_tensors(memory_tensors(state), self._length(text), self.reader.device)
        study = studied(self.reader, text, self.teacher(text), self.seeds, self.settings)
        return TrainedRows(self.start(text), study)

    def start(self, text: LatentText) -> Page:
        """The rows that the cartridge of ``text`` starts from."""
        if text.stored:
            rows = rows_of_pages(text.stored).to(self.reader.device)
            return picked_rows(rows, self._received(text, rows.keys), self.settings.rows)
        rows, scores = self._read(text)
        if self.settings.start == FIRST:
            return first_rows(rows, self.settings.rows)
        return picked_rows(rows, scores, self.settings.rows)

    def teacher(self, text: LatentText) -> RotatedRows:
        """The sink and the whole text."""
        return self.reader.standing(self.sink, self.whole(text))

    def whole(self, text: LatentText) -> Page:
        """All rows of ``text``, read behind the sink."""
        return self._read(text)[0]

    def standing(self, rows: Page | None = None) -> RotatedRows:
        """The sink and ``rows``."""
        return self.reader.standing(self.sink, *([] if rows is None else [rows]))

    def rounded(self, rows: Page) -> Page:
        """``rows`` as they are stored, in float32."""
        import torch

        kind = getattr(torch, self.form.type)
        keys, values = (part.detach().to(kind).float() for part in (rows.keys, rows.values))
        return Page(keys, values, rows.tokens, rows.places)

    def losses(self, text: LatentText, memory: TrainedRows, *variants: Page | None) -> list[Losses]:
        """Of the text first, then of each of ``variants`` (None: the model alone, behind the sink)."""
        teacher, study = self.teacher(text), memory.study
        standing = [self.standing(one) for one in variants]
        by_kind = {kind: self.reader.compared(getattr(study, kind), teacher, *standing) for kind in KINDS}
        return [
            Losses(*({kind: by_kind[kind][place][part] for kind in KINDS} for part in (0, 1)))
            for place in range(1 + len(variants))
        ]

    def row(self, text: LatentText, memory: TrainedRows, checkpoint: Checkpoint) -> dict[str, Any]:
        """The columns of the cartridge. Rows that training has made no better are stored as they were before."""
        trained, start = self.rounded(memory.rows()), self.rounded(self.start(text))
        of_text, none, before, after = self.losses(text, memory, None, start, trained)
        better = after.mean_kl < before.mean_kl
        rows, own = (trained, after) if better else (start, before)
        places, cell = self.form.packed(rows)
        measured = {
            f"{part}_{name}_{kind}": values[kind]
            for name, one in (("none", none), ("text", of_text), ("start", before), ("trained", after))
            for part, values in (("loss", one.loss), ("kl", one.kl))
            for kind in KINDS
        }
        steps = max((point.step for point in checkpoint.curve), default=0)
        return {
            "steps": steps if better else 0,
            "rows": rows.rows,
            "start": PICKED if self.settings.from_pages and not text.stored else self.settings.start,
            **({"pages": list(text.pages)} if self.settings.from_pages else {}),
            "loss_none": none.mean_loss,
            "loss_text": of_text.mean_loss,
            "loss": own.mean_loss,
            "kl_none": none.mean_kl,
            "kl_start": before.mean_kl,
            "kl": own.mean_kl,
            "ok": passes_gate(none.mean_kl, own.mean_kl, self.settings.bound),
            "metrics": json.dumps({**checkpoint.metrics, **measured}, sort_keys=True),
            "places": places,
            "kv": cell,
            "check": check_of(places, cell),
        }

    def _next(self, memory: TrainedRows, text: LatentText, state: bytes | None, progress: Progress) -> Checkpoint:
        from operators.latents.cartridge_student import CartridgeStudent
        from operators.train.loop import next_epoch

        if self.settings.epochs == 0:
            return Checkpoint(0, memory.to_bytes(), b"", {})
        student = CartridgeStudent(self.reader, self.sink, memory)
        return next_epoch(self.settings, student, state, str(self.reader.device), progress)

    def _read(self, text: LatentText) -> tuple[Page, torch.Tensor]:
        """The rows of ``text`` behind the sink, and the attention that each receives; of the text read last."""
        import torch

        key = hash_parts("text", text.hash, len(text.ids))
        if self._text is None or self._text[0] != key:
            size, ids = len(self.sink_ids), torch.tensor([*self.sink_ids, *text.ids])
            whole = self.reader.rows_of(ids)
            keys, values = whole.keys[:, :, size:], whole.values[:, :, size:]
            rows = Page(keys, values, len(text.ids))
            scores = attention_received(self.reader.model, ids, whole.keys)[..., size:]
            self._text = (key, rows, scores)
        return self._text[1:]

    def _received(self, text: LatentText, keys: torch.Tensor) -> torch.Tensor:
        """The attention that rows with these ``keys`` receive from the sink and ``text``, beside the sink's."""
        import torch

        own = self.sink.keys.to(keys.device)
        ids = torch.tensor([*self.sink_ids, *text.ids])
        return attention_received(self.reader.model, ids, torch.cat([own, keys], 2))[..., own.shape[2] :]

    def _length(self, text: LatentText) -> int:
        return min(len(text.ids), self.settings.rows) if self.settings.start == FIRST else len(text.ids)
