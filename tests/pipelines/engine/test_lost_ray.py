"""Ray itself dies: this takes the Ray of the whole process down, so it stands alone."""

import os
import signal
import sys
import time

import cloudpickle

from mnemic.errors import Unreachable
from pipelines.engine import Job, choose_engine

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_after_the_death_of_its_node_the_next_job_starts_ray_again():
    def work(item):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)

    with choose_engine("ray", workers=1) as engine:
        try:
            list(engine.map(Job("embed", lambda: work), [1, 2]))
        except Unreachable as error:
            assert "Ray died on this machine during the step embed" in str(error)
        else:
            raise AssertionError("the death of the node was not noticed")
        assert list(engine.map(Job("embed", lambda: lambda item: item), [1])) == [1]
