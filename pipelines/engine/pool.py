"""The actors of one shape of resources.

Actors are unnamed and are never restarted by Ray itself: the dispatcher decides what a death means. They outlive a step
only to spare the next one, where it wants the same resources, from loading Python, torch and Lance again (4 s each on
two cores); they are armed anew for every step.
"""

from __future__ import annotations

import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from operators.contracts import Resources
from pipelines.engine.code import shared_packages
from pipelines.engine.worker import Identity, Worker, tail, wait_for_output

RESTARTS = 2
LOG_LINES = 40


@dataclass
class Slot:
    """The place of one actor."""

    actor: Any = None
    hello: Any = None  # reference of its identity
    job: Any = None  # what it is armed with
    arming: Any = None  # reference of the answer to that
    in_flight: deque[tuple[Any, int]] = field(default_factory=deque)  # (reference of the result, number of the item)
    deaths: int = 0  # since its last success

    @property
    def given_up(self) -> bool:
        return self.deaths > RESTARTS

    def identity(self) -> Identity | None:
        """Where the actor runs; None if it died before it could tell."""
        if self.hello is not None:
            with contextlib.suppress(RayError):
                identity: Identity = ray.get(self.hello, timeout=5.0)
                return identity
        return None


class Pool:
    """At most ``size`` actors of one ``shape``; ``wide`` is the thread budget of one that works while others rest."""

    def __init__(self, shape: Resources) -> None:
        self.shape = shape
        self.size = self.wide = 1
        self.threads = max(1, int(shape.cpus))
        self._slots: list[Slot] = []
        options: dict[str, Any] = {"num_cpus": shape.cpus, "max_restarts": 0, "max_task_retries": 0}
        if shape.gpus:
            options["num_gpus"] = shape.gpus
        if shape.memory:
            options["memory"] = shape.memory
        remote: Any = ray.remote
        self._class = remote(concurrency_groups={"watch": 1})(Worker).options(**options)

    def resize(self, size: int, wide: int) -> None:
        self.size, self.wide = size, max(wide, self.threads)

    def slots(self, number: int) -> list[Slot]:
        """``number`` places for a new job, or as many as there are; one that was given up gets another chance."""
        while len(self._slots) < min(number, self.size):
            self._slots.append(Slot())
        for slot in self._slots:
            if slot.in_flight:  # of a job that was abandoned
                self.drop(slot)
            slot.job = slot.arming = None
            slot.deaths = 0
        return self._slots[:number]

    def arm(self, slot: Slot, job: Any, threads: int) -> None:
        """Begin to arm the slot's actor with a job (a reference to its bytes); it is made if there is none."""
        if slot.actor is None:
            slot.actor = self._class.remote(self.threads)
            slot.hello = slot.actor.identity.remote(shared_packages())
        slot.job = job
        slot.arming = slot.actor.arm.remote(job, threads)

    def drop(self, slot: Slot) -> None:
        """The slot's actor is dead, or is to be."""
        if slot.actor is not None:
            with contextlib.suppress(RayError):
                ray.kill(slot.actor)
        slot.actor = slot.hello = slot.job = slot.arming = None
        slot.in_flight.clear()

    def close(self) -> None:
        for slot in self._slots:
            self.drop(slot)


def last_words(identity: Identity | None) -> tuple[str, ...]:
    """The end of what an actor printed; fetched from its node where that is another one and still there."""
    if identity is None or not identity.outputs:
        return ()
    if identity.node == ray.get_runtime_context().get_node_id():
        wait_for_output(identity.outputs)
        lines = tail(identity.outputs, LOG_LINES)
    else:
        there = NodeAffinitySchedulingStrategy(identity.node, soft=False)
        reader = ray.remote(tail).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            lines = ray.get(reader.remote(identity.outputs, LOG_LINES), timeout=15.0)
        except RayError:
            return (f"The node {identity.host} is gone, and the output of its workers with it.",)
    return (f"process {identity.process} on {identity.host}:", *(line for line in lines if line.strip()))
