"""The identity of a loaded language model, which a memory records of the model that it was made for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mnemic.errors import ModelError
from mnemic.ids import hash_bytes
from mnemic.languagemodel.function import function
from mnemic.languagemodel.taps import output_embedding

_UNPACKED = "gguf"
"""The method that transformers names for a model whose file was quantised and whose weights in memory are not."""

_QUANTISED = ("torch.ao.nn.", "torchao.", "bitsandbytes.", "auto_gptq.", "gptqmodel.", "awq.", "hqq.", "optimum.quanto")


def lock(model: Any, tokenizer: Any | None = None) -> dict[str, str]:
    """The identity of a model: a memory records it of the model that it was made for, and `attach` compares it.

    ``weights`` hashes every parameter once, cast to bfloat16. So a model is the same in float32 and in bfloat16, and
    from GGUF and from safetensors of the same values. ``function`` says what is computed with them
    (`mnemic.languagemodel.function`). ``tokenizer`` is present if one is given. Raises `ModelError` for a model that
    is quantised, or not wholly in memory: its weights cannot be told.
    """
    import torch

    _refuse_unreadable(model)
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        value = parameter.detach().to(torch.bfloat16).cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.view(torch.uint8).numpy() if value.dim() else value.view(1).view(torch.uint8).numpy())
    identity = {
        "weights": digest.hexdigest(),
        "architecture": type(model).__name__,
        "vocabulary": str(output_embedding(model).shape[0]),
        "function": function(model),
    }
    if tokenizer is not None:
        identity["tokenizer"] = tokenizer_hash(tokenizer)
    return identity


def _refuse_unreadable(model: Any) -> None:
    import torch

    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    parameters = dict(model.named_parameters())
    absent = [name for name, value in parameters.items() if value.is_meta]
    if absent:
        raise ModelError(
            f"{len(absent)} parameters of the model are not in memory ({absent[0]}): it was offloaded, or made without "
            "weights. A memory is attached to a whole model; load it without device_map or offloading."
        )
    foreign = [name for name, value in parameters.items() if value.dtype not in floats]
    foreign += [name for name, module in model.named_modules() if _is_quantised(module)]
    packed = getattr(model, "is_quantized", False) and getattr(model, "quantization_method", None) != _UNPACKED
    if foreign or packed:
        raise ModelError(
            f"The model is quantised ({foreign[0] if foreign else type(model).__name__}), so it does not have the "
            "weights that a memory was made for; load it in bfloat16 or float32. A GGUF file is de-quantised by "
            "`mnemic.languagemodel.load`."
        )


def _is_quantised(module: Any) -> bool:
    """Whether a layer holds its weights in a form of its own: of torch these are no parameters, but packed."""
    return type(module).__module__.startswith(_QUANTISED) or callable(getattr(module, "weight", None))


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash of the parts that turn text into token ids: all but truncation and padding, which calls change."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_bytes(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    whole = json.loads(backend.to_str())
    parts = {name: whole.get(name) for name in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    return hash_bytes(json.dumps(parts, sort_keys=True).encode())
