"""The identity of a loaded language model, which a memory records of the model that it was made for."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from mnemic.ids import hash_bytes
from mnemic.languagemodel.taps import output_embedding


def lock(model: Any, tokenizer: Any | None = None) -> dict[str, str]:
    """The identity of a model: a memory records it of the model that it was made for, and `attach` compares it.

    ``weights`` hashes every parameter once, cast to bfloat16. So a model is the same in float32 and in bfloat16, and
    from GGUF and from safetensors of the same values. ``tokenizer`` is present if one is given.
    """
    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        value = parameter.detach().to(torch.bfloat16).cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.view(torch.uint8).numpy() if value.dim() else value.view(1).view(torch.uint8).numpy())
    identity = {
        "weights": digest.hexdigest(),
        "architecture": type(model).__name__,
        "vocabulary": str(output_embedding(model).shape[0]),
    }
    if tokenizer is not None:
        identity["tokenizer"] = tokenizer_hash(tokenizer)
    return identity


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash of the parts that turn text into token ids: all but truncation and padding, which calls change."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return hash_bytes(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    whole = json.loads(backend.to_str())
    parts = {name: whole.get(name) for name in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    return hash_bytes(json.dumps(parts, sort_keys=True).encode())
