"""What actors do with items, and what a death, an error or an interruption means. One Ray for the whole module."""

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import pytest

from mnemic import inside
from mnemic.errors import MissingExtra, RecipeError, SourceError, StepError, Unreachable
from operators.contracts import Resources
from pipelines.engine import InlineEngine, Job, choose_engine, dispatch

cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORKERS = 2


@pytest.fixture(scope="module")
def handlers():
    """Handlers of signals before Ray is started."""
    return {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


@pytest.fixture(scope="module")
def ray_engine(handlers):
    with choose_engine("ray", workers=WORKERS) as engine:
        yield engine


@pytest.fixture(params=["inline", "ray"])
def engine(request, ray_engine):
    return ray_engine if request.param == "ray" else InlineEngine()


def job(work, **settings):
    return Job("embed", lambda: work, describe="fragment {} of units".format, **settings)


def drained(results):
    """(what came, the error at the end)."""
    items = []
    try:
        for result in results:
            items.append(result)
    except Exception as error:
        return items, error
    return items, None


def test_every_item_has_one_result(engine):
    assert sorted(engine.map(job(lambda item: item * item), range(100))) == [item * item for item in range(100)]
    assert list(engine.map(job(lambda item: item), [])) == []


def test_a_worker_is_made_once_and_works_on_many_items(ray_engine):
    def factory():
        identity = (os.getpid(), time.monotonic())
        return lambda item: identity

    workers = list(ray_engine.map(Job("embed", factory), range(50)))
    assert len(set(workers)) == len({process for process, _ in workers}) <= WORKERS
    assert os.getpid() not in {process for process, _ in workers}


def test_an_actor_is_armed_anew_for_the_next_step_and_keeps_its_process(ray_engine):
    first = set(ray_engine.map(job(lambda item: os.getpid()), range(20)))
    second = set(ray_engine.map(job(lambda item: -os.getpid()), range(20)))
    assert {-process for process in second} & first


def test_workers_share_the_cores_and_load_no_prefect(ray_engine):
    def look(item):
        import torch

        return torch.get_num_threads(), os.environ["LANCE_CPU_THREADS"], "prefect" in sys.modules

    share = max(1, max(os.cpu_count() or 1, WORKERS) // WORKERS)
    assert set(ray_engine.map(job(look), range(4))) == {(share, str(share), False)}


def test_an_error_of_the_operator_is_told_with_its_item_and_never_retried(engine, tmp_path):
    def work(item):
        with open(tmp_path / "tries", "a") as tries:
            tries.write(f"{item}\n")
        if item == 3:
            print("what the worker printed", file=sys.stderr, flush=True)
            raise ValueError("seven is not a vector")
        return item

    results, error = drained(engine.map(job(work), range(4)))
    assert isinstance(error, StepError)
    assert "The step embed failed on fragment 3 of units (ValueError: seven is not a vector)" in str(error)
    assert sorted(results) == [0, 1, 2]
    assert Path(tmp_path / "tries").read_text().split().count("3") == 1
    if engine.name == "ray":
        assert "seven is not a vector" in "\n".join(error.log)
        assert "what the worker printed" in "\n".join(error.log)


def test_a_sentence_of_ours_comes_through_as_it_is(engine):
    def work(item):
        raise SourceError("There is nothing here; look elsewhere.")

    _, error = drained(engine.map(job(work), [1]))
    assert type(error) is SourceError
    assert str(error) == "There is nothing here; look elsewhere."


def test_a_worker_that_cannot_be_armed_fails_the_step(engine):
    def factory():
        raise OSError("the model's file is cut off")

    results, error = drained(engine.map(Job("embed", factory), range(5)))
    assert results == []
    assert "The step embed failed (OSError: the model's file is cut off)" in str(error)


def test_what_an_actor_held_when_it_was_killed_is_done_by_another(ray_engine, tmp_path):
    def work(item):
        if item == 5 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    assert sorted(ray_engine.map(job(work), range(20))) == list(range(20))
    assert (tmp_path / "died").exists()


def test_an_item_that_crashes_the_interpreter_is_named_and_the_others_are_done(ray_engine):
    def work(item):
        if item == 7:
            ctypes.string_at(0)
        return item

    results, error = drained(ray_engine.map(job(work), range(12)))
    assert isinstance(error, StepError)
    assert "lost 3 workers on fragment 7 of units: Fatal Python error: Segmentation fault" in str(error)
    assert "string_at" in "\n".join(error.log)
    assert 7 not in results
    assert len(results) == len(set(results)) >= 6
    assert sorted(ray_engine.map(job(lambda item: item), range(5))) == list(range(5)), "the next step has workers"


def test_a_worker_without_memory_says_so(ray_engine):
    def work(item):
        limits = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), limits[1]))
        try:
            return len(bytearray(1 << 30))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)

    _, error = drained(ray_engine.map(job(work), [4]))
    assert isinstance(error, StepError)
    assert "fragment 4 of units: its worker ran out of memory" in str(error)
    assert "--workers" in str(error)


def test_cancelling_begins_nothing_more_and_finishes_what_is_under_way(engine, tmp_path):
    def work(item):
        time.sleep(0.05)
        (tmp_path / f"{engine_name}-{item}").touch()
        return item

    engine_name = engine.name
    results = engine.map(job(work), range(100))
    items = [next(results)]
    results.cancel()
    items += list(results)
    done = len(list(tmp_path.glob(f"{engine_name}-*")))
    assert len(items) == done <= 1 + 2 * WORKERS


def test_what_one_worker_yields_comes_in_order(engine):
    def factory():
        def work(progress):
            for number in range(5):
                progress(number + 1, 5)
                yield number

        return work

    assert list(engine.stream(Job("imitate", factory), lambda done, total: None)) == [0, 1, 2, 3, 4]


def test_progress_of_a_stream_is_told_while_it_runs(ray_engine):
    def factory():
        def work(progress):
            progress(3, 10)
            time.sleep(6)
            yield "done"

        return work

    messages = []
    assert list(ray_engine.stream(Job("imitate", factory), lambda *pair: messages.append(pair))) == ["done"]
    assert (3, 10) in messages


def test_a_stream_whose_worker_dies_begins_anew(ray_engine, tmp_path):
    def factory():
        def work(progress):
            yield "first"
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGKILL)
            yield "second"

        return work

    items = list(ray_engine.stream(Job("imitate", factory), lambda done, total: None))
    assert items == ["first", "first", "second"]


def test_a_stream_that_no_worker_survives_ends_in_a_sentence(ray_engine):
    def factory():
        def work(progress):
            os.kill(os.getpid(), signal.SIGKILL)
            yield 1

        return work

    results, error = drained(ray_engine.stream(Job("imitate", factory), lambda done, total: None))
    assert results == []
    assert isinstance(error, StepError)
    assert "The step imitate lost 3 workers" in str(error)


def test_an_error_in_a_stream_is_told(engine):
    def factory():
        def work(progress):
            yield 1
            raise ZeroDivisionError("no rows")

        return work

    results, error = drained(engine.stream(Job("imitate", factory), lambda done, total: None))
    assert results == [1]
    assert "The step imitate failed (ZeroDivisionError: no rows)" in str(error)
    if engine.name == "ray":
        assert "ZeroDivisionError: no rows" in "\n".join(error.log)


def test_what_does_not_fit_into_the_cluster_is_told_at_once(ray_engine):
    with pytest.raises(Unreachable, match=r"no room for a worker of the step embed within 0 s: it wants 1000 CPUs"):
        ray_engine.map(job(lambda item: item, resources=Resources(cpus=1000)), [1])


def test_a_job_of_more_than_64_megabytes_is_refused(ray_engine):
    large = bytes(65 << 20)
    with pytest.raises(StepError, match="would send 68 MB to each worker"):
        ray_engine.map(job(lambda item: large[item]), [1])


def test_workers_with_other_code_are_refused(ray_engine, monkeypatch):
    monkeypatch.setattr(dispatch, "code_digest", lambda packages: "another")
    _, error = drained(ray_engine.map(job(lambda item: item), [1]))
    assert "have another mnemic than this process" in str(error)


def test_handlers_of_signals_stay_what_they_were(handlers, ray_engine):
    assert list(ray_engine.map(job(lambda item: item), [1])) == [1]
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_an_engine_is_chosen_by_name_environment_or_what_is_installed(monkeypatch):
    monkeypatch.setenv("MNEMIC_ENGINE", "inline")
    assert choose_engine().name == "inline"
    assert choose_engine(address="head:6379").name == "ray"
    monkeypatch.delenv("MNEMIC_ENGINE")
    assert choose_engine().name == "ray"
    assert choose_engine("inline").name == "inline"
    with pytest.raises(RecipeError, match="no engine 'spark'; use inline or ray"):
        choose_engine("spark")
    with pytest.raises(RecipeError, match="inline has no address"):
        choose_engine("inline", "head:6379")
    with pytest.raises(RecipeError, match="cannot have 0 workers"):
        choose_engine("ray", workers=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine().name == "inline"
    with pytest.raises(MissingExtra, match=r"pip install 'mnemic\[ray\]'"):
        choose_engine("ray")


@pytest.fixture
def interruptible():
    """A process that a shell has put into the background was told to ignore interruptions."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_that_arrives_while_waiting_is_raised_as_what_it_is(ray_engine, interruptible):
    def work(item):
        time.sleep(1.0)
        return item

    results = ray_engine.map(job(work), range(20))
    items = [next(results)]
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        items.extend(results)
    results.cancel()
    items += list(results)
    assert len(items) == len(set(items)) <= 2 * WORKERS + 2


def test_it_is_heard_how_far_items_are_that_are_being_worked_on(engine, monkeypatch):
    """In this process every word; of actors the sum of what each last told, asked for while nothing else comes."""
    monkeypatch.setattr(dispatch, "WATCH_SECONDS", 0.1)

    def work(item):
        for rows in range(1, 9):
            inside.tell(10 * rows)
            time.sleep(0.15)
        return item

    numbers = []
    with inside.heard_by(numbers.append):
        assert sorted(engine.map(job(work), range(2))) == [0, 1]
    assert len(numbers) >= 3 and max(numbers) >= 40 and all(number % 10 == 0 and number <= 160 for number in numbers)
