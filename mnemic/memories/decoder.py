"""A Memory Decoder: a small causal model beside the language model, which has learnt what a retriever would say.

Memory Decoder (Cao et al., arXiv 2508.09874): the student of a kNN-LM that reads the text itself, with attention and a
key-value cache of its own, so any model with the same tokenizer can use it. Ours has the blocks of a Llama, copied from
the language model where that is one, and a head of the store's tokens alone, as the MLP memory has. Its input embedding
is the language model's and stays as it is, in bfloat16: of SmolLM2 that is 57 MB of 113, and trained it would be twice
the rest of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnemic.errors import ModelError
from mnemic.memories.shapes import Shapes
from mnemic.memories.student import Student


@dataclass(frozen=True)
class DecoderConfig:
    """Shape of a `MemoryDecoder`: ``vocabulary`` tokens are read, ``tokens`` of them can be said."""

    vocabulary: int
    width: int
    tokens: int
    blocks: int = 4
    inner: int = 1536
    heads: int = 9
    key_value_heads: int = 3
    head_width: int | None = None  # None: width / heads
    rope_theta: float = 10_000.0
    rope: dict[str, Any] | None = None  # transformers' rope parameters, where there is more to say than theta
    positions: int = 8192
    norm_epsilon: float = 1e-6


class MemoryDecoder(Student):
    """Token ids [batch, positions] -> log-probabilities over ``tokens`` (sorted ids, int64) of each next token."""

    format = "mnemic-decoder-1"
    reads: ClassVar[Literal["text"]] = "text"
    config_type = DecoderConfig
    config: DecoderConfig

    def __init__(self, config: DecoderConfig, tokens: Tensor) -> None:
        from transformers import LlamaConfig, LlamaModel

        super().__init__(config, tokens)
        self.body = LlamaModel(
            LlamaConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.width,
                intermediate_size=config.inner,
                num_hidden_layers=config.blocks,
                num_attention_heads=config.heads,
                num_key_value_heads=config.key_value_heads,
                head_dim=config.head_width,
                max_position_embeddings=config.positions,
                rope_parameters=config.rope or {"rope_type": "default", "rope_theta": config.rope_theta},
                rms_norm_eps=config.norm_epsilon,
                attn_implementation="sdpa",
            )
        )
        self.body.embed_tokens.to(torch.bfloat16).requires_grad_(False)
        self.head = nn.Linear(config.width, config.tokens, bias=False)

    @classmethod
    def shapes(cls, config: DecoderConfig) -> Shapes:
        width, inner = config.width, config.inner
        head = config.head_width or width // config.heads
        queried, answered = config.heads * head, config.key_value_heads * head
        if config.heads % config.key_value_heads or head < 2 or head % 2:
            raise ModelError(
                f"The weights of this memory are damaged (its config says {config.heads} heads of {head} with "
                f"{config.key_value_heads} of keys); build the memory again."
            )
        block = {
            "self_attn.q_proj": (queried, width),
            "self_attn.k_proj": (answered, width),
            "self_attn.v_proj": (answered, width),
            "self_attn.o_proj": (width, queried),
            "mlp.gate_proj": (inner, width),
            "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner),
            "input_layernorm": (width,),
            "post_attention_layernorm": (width,),
        }
        shapes: Shapes = {
            "tokens": (config.tokens,),
            "head.weight": (config.tokens, width),
            "body.embed_tokens.weight": (config.vocabulary, width),
            "body.norm.weight": (width,),
        }
        for number in range(config.blocks):
            shapes |= {f"body.layers.{number}.{name}.weight": shape for name, shape in block.items()}
        return shapes

    @property
    def cache_layers(self) -> int:
        """Layers of keys and values that it keeps of the text."""
        return self.config.blocks

    def trunk(self, ids: Tensor, attention_mask: Tensor | None = None, cache: Any | None = None) -> Tensor:
        """Inputs of the head at each position: [batch, positions, width]. ``cache`` (transformers') grows."""
        embedded = self.body.embed_tokens(ids).to(self.head.weight.dtype)
        output = self.body(
            inputs_embeds=embedded, attention_mask=attention_mask, past_key_values=cache, use_cache=cache is not None
        )
        state: Tensor = output.last_hidden_state
        return state

    def log_probs(self, state: Tensor) -> Tensor:
        """Log-probabilities of each next token, float32 [..., tokens], for rows [..., width] of what `trunk` gave."""
        return functional.log_softmax(self.head(state).float(), dim=-1)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, cache: Any | None = None) -> Tensor:
        """Log-probabilities of each next token: float32 [batch, positions, tokens]."""
        return self.log_probs(self.trunk(ids, attention_mask, cache))
