"""The epochs of the vectors of one text, and whether greedy decoding gives the text back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mnemic import languagemodel
from mnemic.ids import hash_bytes, hash_parts
from mnemic.latents.rebuild import begin_of, decoded, hash_of_ids
from operators.contracts import Progress
from operators.latents.memory_tokens import TrainMemoryTokens
from operators.latents.reader import refuse_bounded_logits
from operators.latents.settings import LatentEpoch, LatentText
from operators.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from operators.latents.token_student import TrainedVectors


class TokenTrainer:
    """Trains the memory tokens of ``settings`` with an open ``model``."""

    def __init__(self, settings: TrainMemoryTokens, model: Any, tokenizer: Any) -> None:
        refuse_bounded_logits(model)
        self.settings, self.model, self.begin = settings, model, begin_of(tokenizer)
        self.device = str(languagemodel.output_embedding(model).device)

    def config(self) -> tuple[dict[str, Any], bytes]:
        width = int(self.model.get_input_embeddings().weight.shape[1])
        return {"width": width, "begin": self.begin, "level": self.settings.level}, b""

    def epoch(self, text: LatentText, state: bytes | None, progress: Progress) -> LatentEpoch:
        memory = self.opened(text, state)
        checkpoint = self._next(memory, text, state, progress)
        right = self.right(text, memory)
        if right < len(text.ids) and checkpoint.epoch < self.settings.epochs:
            return LatentEpoch(checkpoint)
        return LatentEpoch(checkpoint, self.row(text, memory, checkpoint, right))

    def opened(self, text: LatentText, state: bytes | None = None) -> TrainedVectors:
        """The vectors of ``text``: those of a checkpoint, or as they are drawn."""
        from operators.latents.token_student import TrainedVectors
        from operators.train.checkpoint import memory_tensors

        count = len(text.ids)
        if state is not None:
            return TrainedVectors(memory_tensors(state)["vectors"].to(self.device), count)
        seed = int(hash_parts("memory token", self.settings.seed, text.hash)[:15], 16)
        return TrainedVectors.drawn(self.model, -(-count // self.settings.tokens_a_vector), count, seed)

    def right(self, text: LatentText, memory: TrainedVectors) -> int:
        """How many tokens of ``text`` greedy decoding gives back before the first wrong one."""
        written = decoded(self.model, self.begin, memory.vectors.detach(), len(text.ids))
        wrong = (place for place, (own, true) in enumerate(zip(written, text.ids, strict=True)) if own != true)
        return next(wrong, len(text.ids))

    def row(self, text: LatentText, memory: TrainedVectors, checkpoint: Checkpoint, right: int) -> dict[str, Any]:
        """The columns of the memory token."""
        embedding = memory.vectors.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
        return {
            "steps": checkpoint.epoch * self.settings.steps,
            "vectors": memory.config.vectors,
            "right": right,
            "exact": right == len(text.ids),
            "dtypes": [str(next(self.model.parameters()).dtype).removeprefix("torch.")],
            "ids": hash_of_ids(list(text.ids)),
            "metrics": json.dumps(checkpoint.metrics, sort_keys=True),
            "embedding": embedding,
            "check": hash_bytes(embedding),
        }

    def _next(self, memory: TrainedVectors, text: LatentText, state: bytes | None, progress: Progress) -> Checkpoint:
        import torch

        from operators.latents.token_student import TokenStudent
        from operators.train.loop import next_epoch

        ids = torch.tensor(text.ids)
        student = TokenStudent(self.model, memory, ids, self.begin, self.settings.steps)
        return next_epoch(self.settings, student, state, self.device, progress)
