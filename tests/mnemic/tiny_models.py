"""Tiny random language models with a byte-level tokenizer trained on the spot, saved to a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SENTENCES = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Return the index of the first element that is larger than the value.",
    "A dataset version is tagged with a name and can be opened again later.",
    "Raise an error when the file does not exist or cannot be read.",
    "Naïve façade: ünïcödé text — with 漢字 and emoji 🙂 in the middle.",
]


def save_tiny_model(folder: Path, family: str = "llama", seed: int = 0, **options: Any) -> str:
    """Save a model of 4 blocks, width 32, with its tokenizer; returns the folder as an address."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SENTENCES * 4, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>")
    size = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    torch.manual_seed(seed)
    if family == "gpt2":
        config: Any = transformers.GPT2Config(n_embd=32, n_layer=4, n_head=4, n_positions=512, **size, **options)
    else:
        shape = {
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4 if family == "gpt_neox" else 2,
            "head_dim": 8,
            "intermediate_size": 64,
            "max_position_embeddings": 512,
        }
        if family in ("gpt_neox", "mistral"):
            shape.pop("head_dim")
        config = transformers.AutoConfig.for_model(family, **shape, **size, **options)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # larger than the usual start, so that positions differ clearly
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
