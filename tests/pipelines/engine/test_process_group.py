"""Process groups: several workers at once that find one another, and what the death or the error of one means."""

import os
import signal
import sys

import cloudpickle
import pytest

from mnemic.errors import StepError, Unreachable
from operators.contracts import LostProcess, ProcessRank
from pipelines.engine import InlineEngine, Job, choose_engine

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def ray_engine():
    with choose_engine("ray", workers=2) as engine:
        yield engine


def quiet(done, total):
    """Nobody listens."""


def added(progress, process: ProcessRank):
    """The sum of rank + 1 over all processes, by the group that trainings use."""
    from operators.train.group import process_group

    with process_group(process, "cpu") as group:
        yield from added_in(group, process)


def added_in(group, process: ProcessRank):
    """The sum of rank + 1 over all processes of ``group``."""
    import torch

    shards = group.shards(torch.arange(1, process.size + 1))
    total = group.all_reduce(torch.stack([shard.sum() for shard in shards]).sum())
    if group.first:
        yield int(total)


def test_inline_one_worker_computes_the_shards_of_all():
    seen = []

    def work(progress, process):
        seen.append(process)
        yield from added(progress, process)

    assert list(InlineEngine().group(Job("imitate", lambda: work), 3, quiet)) == [6]
    assert seen == [ProcessRank(0, 3, "")]


def test_processes_find_one_another_and_the_first_yields_for_all(ray_engine):
    assert list(ray_engine.group(Job("imitate", lambda: added), 2, quiet)) == [3]


def test_when_one_dies_all_begin_anew(ray_engine, tmp_path):
    def work(progress, process):
        from operators.train.group import process_group

        with process_group(process, "cpu") as group:
            yield from added_in(group, process)
            if process.rank == 1 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield from added_in(group, process)

    items = list(ray_engine.group(Job("imitate", lambda: work), 2, quiet))
    assert (tmp_path / "died").exists()
    assert items[-2:] == [3, 3]
    assert items[:-2] in ([], [3])  # what rank 0 yielded before the death comes, unless the death is noticed first


@pytest.mark.slow
def test_a_gang_whose_member_always_dies_ends_in_a_sentence(ray_engine):
    def work(progress, process):
        if process.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        raise LostProcess("The others are gone.")
        yield

    with pytest.raises(StepError, match="The step imitate lost 3 workers"):
        list(ray_engine.group(Job("imitate", lambda: work), 2, quiet))


def test_the_error_of_one_is_told_and_not_that_the_others_lost_it(ray_engine):
    def work(progress, process):
        if process.rank == 0:
            raise LostProcess("The others are gone.")
        raise ZeroDivisionError("no rows")
        yield

    with pytest.raises(StepError, match=r"The step imitate failed \(ZeroDivisionError: no rows\)"):
        list(ray_engine.group(Job("imitate", lambda: work), 2, quiet))


def test_a_gang_for_which_there_is_no_room_is_told(ray_engine):
    with pytest.raises(Unreachable, match="wants 3 processes at once, and there is room for 2"):
        ray_engine.group(Job("imitate", lambda: added), 3, quiet)
