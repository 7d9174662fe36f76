"""What a forked process can do with a bank, and with a model that has memories."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BANKS = Path(__file__).parents[2] / "fixtures" / "banks"

CHILD = """
import os, shutil, sys, time, warnings
warnings.filterwarnings("ignore")

def forked(action, seconds=60):
    child = os.fork()
    if not child:
        try:
            print(action(), flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(0)
    for _ in range(seconds * 20):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    print("hangs", flush=True)

import mnemic
shutil.unpack_archive(sys.argv[1], "there")
"""

BANK = """
def vector(bank):
    return bank.table("events", ["vector"])["vector"][3].as_py()

forked(lambda: len(list(mnemic.open_bank("there/bank").search("table", vector=vector(mnemic.open_bank("there/bank"))))))
bank = mnemic.open_bank("there/bank")
query = vector(bank)
bank.search("table", vector=query)
for _ in range(4):
    forked(lambda: len(bank.search("table", vector=query)))
    forked(lambda: mnemic.open_bank("there/bank"))
    forked(lambda: bank.memory())
print(len(bank.search("table", vector=query)))
"""

MODEL = """
import torch
from torch.utils.data import DataLoader
from tiny_models import save_tiny_model
from mnemic.languagemodel import load
bank = mnemic.open_bank("there/bank")
torch.set_num_threads(2)
model, tokenizer = load(save_tiny_model("model"), "float32")
ids = tokenizer("The table of a column", return_tensors="pt")["input_ids"].repeat(64, 8)
bank.attach(model, ["mlp", "knn"], [0.3, 0.3])
with torch.no_grad():
    expected = float(model(input_ids=ids).logits.exp().sum())
    for _ in range(4):
        forked(lambda: abs(float(model(input_ids=ids).logits.exp().sum()) - expected) < 1e-2)

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, number):
            return float(model(input_ids=ids[:1]).logits.exp().sum())

    print(len(list(DataLoader(Rows(), num_workers=2, batch_size=1, timeout=60))))
"""


def lines(script: str, folder: Path) -> list[str]:
    root = Path(__file__).parents[3]
    paths = [str(root), str(root / "tests" / "fixtures"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", CHILD + script, str(BANKS / "format-1.tar.gz")]
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_opens_its_own_bank_and_is_told_so_where_it_cannot(tmp_path: Path) -> None:
    first, *others, last = lines(BANK, tmp_path)
    assert int(first) > 0 and first == last
    assert len(others) == 12
    assert all(line.startswith("BankError: ") and "must be opened in the child" in line for line in others), others


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_model_with_memories_answers_after_a_fork(tmp_path: Path) -> None:
    assert lines(MODEL, tmp_path) == ["True"] * 4 + ["2"]
