"""A build on a disk that fills up ends in a sentence, keeps what it committed, and carries on when there is room."""

import subprocess

import pytest

import mnemic
from mnemic.errors import NoSpace

SIZES = ("300k", "600k", "900k", "1200k")
"""Of a disk that grows while it is still too small; a whole bank takes about 1.6 MB."""


@pytest.fixture
def disk(tmp_path):
    """A file system of its own of the smallest of these sizes; needs the right to mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZES[0]}", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_fills_up_loses_nothing(disk, tiny):
    crowded = {**tiny.recipe, "bank": str(disk / "bank")}
    done = []
    for size in SIZES:
        subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
        with pytest.raises(NoSpace, match="Everything committed so far is kept: free some space"):
            mnemic.build(crowded)
        done.append(sum(step.kind == "done" for step in mnemic.plan(crowded).steps))
    assert done == sorted(done)
    assert done[-1] > done[0]

    subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
    mnemic.build(crowded)
    assert mnemic.open_bank(crowded["bank"]).digest() == tiny.open().digest()
