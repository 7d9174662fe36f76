"""Made-up corpora of any size, and what is seen of a process from outside."""

import json
import os
import subprocess
import sys

from bench.scale import processes
from bench.scale.corpus import COPIES, documents, write_documents


def test_a_document_depends_on_its_number_alone(tmp_path):
    texts = list(documents(0, 30_000))
    assert list(documents(9_990, 10_020)) == texts[9_990:10_020]
    assert texts[1] == texts[0] and texts[2] != texts[0] and texts[2].split()[:-1] == texts[0].split()[:-1]
    assert len(set(texts)) == len(texts) - len(texts) // COPIES
    write_documents(tmp_path / "corpus", 1_000)
    lines = [line for file in sorted((tmp_path / "corpus").iterdir()) for line in file.read_text().splitlines()]
    assert [json.loads(line)["text"] for line in lines] == texts[:1_000]


def test_a_process_is_seen_from_outside():
    code = "import sys; block = bytearray(200_000_000); del block; print('done', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "done\n"
        assert process.pid in processes.descendants(os.getpid())
        assert processes.peak_bytes(process.pid) > 200_000_000 and processes.cpu_seconds(process.pid) > 0
        processes.forget_peak(process.pid)
        assert processes.peak_bytes(process.pid) < 100_000_000
        assert not processes.is_worker(process.pid)
        process.stdin.close()
    assert processes.peak_bytes(process.pid) == 0 and processes.cpu_seconds(process.pid) == 0
