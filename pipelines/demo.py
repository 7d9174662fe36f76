"""`make demo`: build the memory of this Python environment, measure it, and show how it is used.

Everything that it does is done with the public calls `mnemic.build`, `mnemic.evaluate` and `mnemic.open_bank`.
"""

from __future__ import annotations

import os
import resource
import sys
import time

from mnemic.bank import open_bank
from mnemic.command import main as command
from mnemic.command.trace import shown as shown_trace
from mnemic.continued import continued
from mnemic.continued import shown as shown_continuation
from mnemic.errors import MnemicError
from mnemic.hardware import has_bfloat16
from mnemic.suffixes.stored import has_suffixes
from mnemic.terminal import coloured, plain
from pipelines.command.evaluate import shown
from pipelines.evaluate.bank import evaluate
from pipelines.live import Working
from pipelines.progress import TerminalLines
from pipelines.recipe import load_recipe
from pipelines.run import build

QUESTION = "how do I write a table to disk and read it back?"
SENTENCE = (
    "The licence begins: Permission is hereby granted, free of charge, to any person obtaining a copy of this software."
)
"""Partly of a licence that most environments have several times."""
CHOSEN = "Chosen: of the prose in the store the text that the model alone expects least."


def main(recipe: str = "demo") -> int:
    """Run the demo of a shipped recipe and return an exit code."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    started = time.monotonic()
    loaded = load_recipe(recipe)
    if not has_bfloat16() and recipe == "demo":
        print(
            "This processor has no bfloat16: the language model runs 2 to 4 times slower here, so this demo takes "
            "10 to 25 minutes instead of 6. `make demo-small` shows the same on less text.\n"
        )
    (source,) = loaded.sources
    items = source.manifest()
    print(f"{len(items)} packages, a seeded sample of this environment: {', '.join(item.locator for item in items)}\n")
    try:
        with TerminalLines(sys.stdout) as lines:
            result = build(loaded, sinks=[lines])
    except MnemicError as error:
        print(f"mnemic: {plain(str(error))}", file=sys.stderr)
        return error.exit_code
    if result.steps:
        print("\nseconds: " + "  ".join(f"{step.step} {step.seconds:.1f}" for step in result.steps))
    clock = time.monotonic()
    with Working("opening the bank", sys.stdout) as doing:
        evaluation = evaluate(result.bank, doing=doing)
    print("\n" + shown(evaluation))
    print(f"\nevaluated in {time.monotonic() - clock:.1f} s\n")
    print(f'$ mnemic search {result.bank} "{QUESTION}" --words 120\n')
    command(["search", result.bank, QUESTION, "--words", "120"])
    bank = open_bank(result.bank)
    with Working("loading the language model", sys.stdout):
        continuation = continued(bank)
    if continuation is not None:
        print(f"\n{shown_continuation(continuation)}\n\n{CHOSEN}")
    sentence = continuation.generated[-1].text if continuation is not None else SENTENCE
    if has_suffixes(bank.view):
        print(f"\n$ mnemic trace {result.bank}, of what it said with the memory\n")
        print(shown_trace(bank.trace(sentence), coloured(sys.stdout)))
    print(
        "\nIn Python:\n\n"
        "    import mnemic\n"
        f'    bank = mnemic.open_bank("{result.bank}")\n'
        f'    events = bank.search("{QUESTION}", words=500)\n'
        "    lm = bank.attach(model)        # a transformers model that generates with the memory\n"
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"release {open_bank(result.bank).release.name}, {time.monotonic() - started:.0f} s without installation, "
        f"{memory:.1f} GB of memory at most"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
