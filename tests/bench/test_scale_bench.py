"""Made-up corpora of any size, and what is seen of a process from outside."""

import json
import subprocess
import sys
import time

import psutil

from bench.scale.corpus import COPIES, documents, write_documents
from bench.scale.processes import cpu_seconds, forget_peak, peak_bytes, workers


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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "done\n"
        process = psutil.Process(started.pid)
        assert peak_bytes(process) > 200_000_000 and cpu_seconds(process) > 0
        forget_peak(process)
        assert peak_bytes(process) < 100_000_000
        started.stdin.close()
    assert peak_bytes(process) == 0 and cpu_seconds(process) == 0


def test_workers_are_known_by_their_names():
    code = "import subprocess, sys; subprocess.run(['ray::Worker', '30'], executable='/bin/sleep')"
    with subprocess.Popen([sys.executable, "-c", code]) as started:
        driver, deadline = psutil.Process(started.pid), time.monotonic() + 30
        while not (own := workers(driver)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [one.cmdline() for one in own] == [["ray::Worker", "30"]]
        assert workers(own[0]) == []
        own[0].kill()
