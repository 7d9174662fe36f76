"""The student of an MLP memory: it reads one hidden vector of the datastore for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.errors import StepError
from operators.contracts import ProcessRank, Progress
from operators.sections import Learn, Section, shared_field, shared_fields
from operators.train.checkpoint import Checkpoint, finished_weights
from operators.train.cost import matrix_flops
from operators.train.settings import Training

if TYPE_CHECKING:
    import torch

    from mnemic.memories.mlp import MLPMemory
    from operators.imitate.rows import TrainingRows
    from operators.train.labels import Labels

_RESCALING_ROWS = 512
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Imitate(Training):
    """Trains an MLP memory; `Training` says what its settings mean.

    ``student_depth`` is the datastore's.
    """

    version: ClassVar[int] = 4

    student_depth: float = shared_field(0.7, said_by="datastore.student_depth", identity=False)

    def config(self, layers: int) -> dict[str, Any]:
        return {"student_layer": languagemodel.student_layer(layers, self.student_depth)}

    def train(
        self,
        rows: TrainingRows,
        checkpoint: bytes | None,
        device: str,
        progress: Progress,
        process: ProcessRank | None = None,
    ) -> Iterator[Checkpoint]:
        from mnemic.memories.mlp import MLPMemory
        from operators.train.group import process_group
        from operators.train.loop import train

        if not len(rows.token):
            raise StepError(
                "There are no rows of split 'store' to train on; give documents to the store in the recipe."
            )
        with process_group(process or ProcessRank(size=self.processes), device) as group:
            resumed = None if checkpoint is None else MLPMemory.from_bytes(finished_weights(checkpoint))
            memory = resumed or self._start(rows, device)
            student = MLPStudent(rows, memory.to(device), self.alpha, device, self.half(device))
            yield from train(self, student, checkpoint, device, progress, group)

    def _start(self, rows: TrainingRows, device: str) -> MLPMemory:
        """A memory that begins with the language model's final norm and head; its blocks add nothing yet."""
        import torch

        from mnemic.memories.mlp import MemoryConfig, MLPMemory
        from operators.train.loop import rescale_final_norm

        model, _ = languagemodel.shared(self.model, self.dtype, device)
        scale, bias = languagemodel.final_norm(model)
        width = rows.input.shape[1]
        if languagemodel.output_embedding(model).shape[1] != width:
            raise StepError(
                f"The store's vectors have {width} components and {self.model} has others; build the datastore with it."
            )
        tokens = torch.from_numpy(distinct(rows.token).astype(np.int64))
        norm = "rms" if bias is None else "layer"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            memory = MLPMemory(MemoryConfig(width, width, len(tokens), self.blocks, norm=norm), tokens)
        memory.start_from(scale, bias, languagemodel.output_embedding(model)[tokens])
        drawn = np.sort(np.random.default_rng(0).permutation(len(rows.token))[:_RESCALING_ROWS])
        with torch.inference_mode():
            logits = memory(torch.from_numpy(rows.input[drawn]).float())
            place, _ = memory.index(torch.from_numpy(rows.token[drawn]))
        rescale_final_norm(memory.norm, logits, place)
        return memory


SECTION = Section("imitate", Imitate, Learn("mlp", kind="mlp", after=("teacher",), rows="vectors"), on="language_model")


@dataclass(frozen=True)
class Control(Imitate):
    """The same network and budget without the teacher; what its section does not say is as in `imitate`."""

    alpha: float = 0.0


def _as_imitate(settings: dict[str, Any] | None, sections: Mapping[str, Any]) -> dict[str, Any] | None:
    imitate = sections.get("imitate")
    if settings is None or imitate is None:
        return settings
    own = [field.name for field in fields(Imitate) if field.name not in {"alpha", *shared_fields(Imitate)}]
    return {name: getattr(imitate, name) for name in own} | settings


CONTROL = Section(
    "control",
    Control,
    Learn("cross-entropy", kind="mlp", after=("teacher",), rows="vectors"),
    complete=_as_imitate,
)


def distinct(tokens: NDArray[np.int32]) -> NDArray[np.int32]:
    """The distinct values of ``tokens``, int32 [n], ascending; a part of them is sorted at a time."""
    parts = [np.unique(tokens[start : start + _AT_ONCE]) for start in range(0, len(tokens), _AT_ONCE)]
    return np.unique(np.concatenate([tokens[:0], *parts]))


class MLPStudent:
    """An MLP memory, and the store's vectors."""

    def __init__(self, rows: TrainingRows, memory: MLPMemory, alpha: float, device: str, half: bool) -> None:
        from operators.train.labels import LabelTable

        self.memory, self.rows, self._device, self._half = memory, len(rows.token), device, half
        self._hidden = rows.input
        self._labels = LabelTable.build(
            rows.token, rows.teacher_ids, rows.teacher_probs, head=memory.tokens, alpha=alpha
        )
        self._validation = (rows.validation_input, rows.validation_token)
        self.base_logprob = rows.validation_base_logprob

    @property
    def units(self) -> int:
        return self.rows

    @property
    def matrices(self) -> Sequence[torch.nn.Parameter]:
        return [weight for weight in self.memory.blocks.parameters() if weight.dim() == 2]

    @property
    def flops(self) -> float:
        return matrix_flops([weight for weight in self.memory.parameters() if weight.dim() == 2], self.rows)

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        return [np.sort(order[begin : begin + rows]) for begin in range(0, len(order), rows)]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return len(batch)

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, Labels]]:
        import torch

        hidden = torch.from_numpy(self._hidden[batch]).to(self._device).float()
        yield hidden, self._labels.take(batch, self._device)

    def trunk(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.memory.trunk(inputs)

    def held_out(self) -> NDArray[np.float32]:
        import torch

        self.memory.eval()
        hidden, token = (torch.from_numpy(part).to(self._device) for part in self._validation)
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self._device).type, dtype=torch.bfloat16, enabled=self._half),
        ):
            scores: NDArray[np.float32] = self.memory.token_log_prob(hidden, token).cpu().numpy()
        return scores
