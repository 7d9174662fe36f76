"""The student of a Memory Decoder: it reads the text itself, in the datastore's windows.

Memory Decoder (arXiv 2508.09874) starts from a trained small model and weighs the teacher by .5. Ours starts from the
language model itself where that is a Llama: its first blocks, with its last norm, its input embedding and its output
rows. Four such blocks of SmolLM2 predict documentation at 7.0 nats a token before any training, four evenly spaced ones
at 8.5, the first two and the last two at 8.7. A block understands the output of the blocks right below it. Windows are
shuffled, those of a step are packed by length, and only positions that are rows of the store count; the rest are
context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mnemic import languagemodel
from mnemic.errors import StepError
from mnemic.memories.texts import ScoredWindow, decoder_log_probs
from operators.contracts import ProcessRank, Progress, Resources, bounds
from operators.imitate.texts import TextRows
from operators.reading.settings import window_fault
from operators.sections import Learn, Section, shared_field
from operators.train.checkpoint import Checkpoint, finished_weights
from operators.train.cost import attention_flops, matrix_flops
from operators.train.group import process_group
from operators.train.labels import Labels, LabelTable
from operators.train.loop import rescale_final_norm, train
from operators.train.settings import Training

if TYPE_CHECKING:
    import torch

    from mnemic.memories.decoder import MemoryDecoder

_LLAMA_LIKE = ("llama", "mistral")
_RESCALING_ROWS = 512


@dataclass(frozen=True)
class Decode(Training):
    """Trains a Memory Decoder; `Training` says what the settings mean that all students share.

    ``window``, ``stride`` and ``max_document_tokens`` are the datastore's. ``pass_tokens`` are read at a time.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpus=1.0, memory=3 << 30)

    learning_rate: float = 1e-3
    matrix_rate: float = 0.02
    alpha: float = 0.5
    window: int = shared_field(512, said_by="datastore.window")
    stride: int = shared_field(256, said_by="datastore.stride")
    max_document_tokens: int = shared_field(1024, said_by="split.max_document_tokens")
    pass_tokens: int = 4096

    def _problems(self) -> list[str]:
        rules = (("pass_tokens", self.pass_tokens >= 1, "a number such as 4096"),)
        return [
            *super()._problems(),
            window_fault(self.window, self.stride),
            *bounds(self, "The training's {name} is {value}; give {bound}.", rules),
        ]

    def config(self, layers: int) -> dict[str, Any]:
        return {"window": self.window, "stride": self.stride, "tokens": self.max_document_tokens}

    def train(
        self,
        rows: TextRows,
        checkpoint: bytes | None,
        device: str,
        progress: Progress,
        process: ProcessRank | None = None,
    ) -> Iterator[Checkpoint]:
        from mnemic.memories.decoder import MemoryDecoder

        if not len(rows.store.document):
            raise StepError(
                "There are no rows of split 'store' to train on; give documents to the store in the recipe."
            )
        with process_group(process or ProcessRank(size=self.processes), device) as group:
            resumed = None if checkpoint is None else MemoryDecoder.from_bytes(finished_weights(checkpoint))
            memory = resumed or self._start(rows, device)
            student = DecoderStudent(self, rows, memory.to(device), device)
            yield from train(self, student, checkpoint, device, progress, group)

    def _start(self, rows: TextRows, device: str) -> MemoryDecoder:
        import torch

        model, _ = languagemodel.shared(self.model, self.dtype, device)
        memory = start(model, torch.from_numpy(np.unique(rows.store.token)), self.blocks, self.seed)
        pieces = sorted(rows.store.pieces(self.window, self.stride), key=lambda piece: len(piece.rows))
        drawn: list[ScoredWindow] = []
        while pieces and sum(len(piece.rows) for piece in drawn) < _RESCALING_ROWS:
            drawn.append(pieces.pop(len(pieces) // 2))
        ids, read = rows.store.padded(drawn, (len(drawn), self.window))
        with torch.inference_mode():
            logits = memory.head(memory.trunk(torch.from_numpy(ids)).flatten(0, 1)[torch.from_numpy(read)])
            tokens = rows.store.token[np.concatenate([piece.rows for piece in drawn])]
            place, _ = memory.index(torch.from_numpy(tokens))
        rescale_final_norm(memory.body.norm, logits, place)
        return memory


SECTION = Section(
    "decoder",
    Decode,
    Learn("decoder", kind="decoder", after=("teacher",), rows="text"),
    step_name="decode",
)


def start(model: Any, tokens: torch.Tensor, blocks: int, seed: int) -> MemoryDecoder:
    """A decoder of ``blocks`` blocks that begins with weights of the language model where they fit, on the CPU.

    ``tokens`` int64 [tokens] are those of its head, ascending.
    """
    import torch

    from mnemic.memories.decoder import DecoderConfig, MemoryDecoder

    text = model.config.get_text_config()
    embedding = model.get_input_embeddings().weight.detach()
    alike = text.model_type in _LLAMA_LIKE
    width, heads = embedding.shape[1], text.num_attention_heads
    config = DecoderConfig(
        vocabulary=embedding.shape[0],
        width=width,
        tokens=len(tokens),
        blocks=blocks,
        inner=getattr(text, "intermediate_size", None) or 8 * width // 3,
        heads=heads,
        key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_width=getattr(text, "head_dim", None),
        rope=dict(text.rope_parameters) if alike else None,
        positions=text.max_position_embeddings,
        norm_epsilon=text.rms_norm_eps if alike else 1e-6,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        memory = MemoryDecoder(config, tokens)
    rows, (scale, _) = languagemodel.output_embedding(model), languagemodel.final_norm(model)
    stack = languagemodel.blocks(model)
    with torch.no_grad():
        memory.body.embed_tokens.weight.copy_(embedding)
        memory.head.weight.copy_(rows[tokens.to(rows.device)])
        memory.body.norm.weight.copy_(scale)
        for block, source in zip(memory.body.layers, stack if alike else [], strict=False):
            weights = source.state_dict()
            own = block.state_dict()
            if {name: value.shape for name, value in weights.items()} == {n: value.shape for n, value in own.items()}:
                block.load_state_dict({name: value.float() for name, value in weights.items()})
    return memory


class DecoderStudent:
    """A Memory Decoder, and the windows of the store's documents."""

    def __init__(self, settings: Decode, rows: TextRows, memory: MemoryDecoder, device: str) -> None:
        self.memory, self.rows = memory, len(rows.store.document)
        self._settings, self._texts, self._device = settings, rows, device
        self._pieces = rows.store.pieces(settings.window, settings.stride)
        self._labels = LabelTable.build(
            rows.store.token.astype(np.int32),
            rows.teacher_ids,
            rows.teacher_probs,
            head=memory.tokens,
            alpha=settings.alpha,
        )
        self.base_logprob = rows.validation_base_logprob

    @property
    def units(self) -> int:
        return len(self._pieces)

    @property
    def matrices(self) -> Sequence[torch.nn.Parameter]:
        return [weight for weight in self.memory.body.layers.parameters() if weight.dim() == 2]

    @property
    def flops(self) -> float:
        config = self.memory.config
        lengths = [piece.part.end - piece.part.begin for piece in self._pieces]
        width = config.heads * (config.head_width or config.width // config.heads)
        return (
            matrix_flops(self.matrices, sum(lengths))
            + matrix_flops([self.memory.head.weight], self.rows)
            + config.blocks * attention_flops(width, lengths)
        )

    def batches(self, order: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
        """Batches of the windows in ``order``, int64 [windows], of about ``rows`` rows each.

        Windows have different numbers of rows.
        """
        steps = min(len(order), max(1, round(self.rows / rows)))
        return [np.sort(part) for part in np.array_split(order, steps)]

    def rows_in(self, batch: NDArray[np.int64]) -> int:
        return sum(len(self._pieces[number].rows) for number in batch)

    def passes(self, batch: NDArray[np.int64]) -> Iterator[tuple[tuple[torch.Tensor, torch.Tensor], Labels]]:
        import torch

        pieces = sorted((self._pieces[number] for number in batch), key=lambda piece: piece.part.begin - piece.part.end)
        while pieces:  # the longest first: each pass is as wide as its first window
            length = pieces[0].part.end - pieces[0].part.begin
            count = max(1, self._settings.pass_tokens // length)
            some, pieces = pieces[:count], pieces[count:]
            ids, read = self._texts.store.padded(some, (len(some), length))
            inputs = (torch.from_numpy(ids).to(self._device), torch.from_numpy(read).to(self._device))
            yield inputs, self._labels.take(np.concatenate([piece.rows for piece in some]), self._device)

    def trunk(self, inputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, read = inputs
        state: torch.Tensor = self.memory.trunk(ids).flatten(0, 1)[read]
        return state

    def held_out(self) -> NDArray[np.float32]:
        settings = self._settings
        return decoder_log_probs(
            self.memory,
            self._texts.validation,
            settings.window,
            settings.stride,
            self._device,
            settings.half(self._device),
        )
