"""Engines: where the workers of a step run.

`inline` runs them in this process, one after another. `ray` runs them as actors, on this machine or on a cluster. The
same steps give the same bank on both; what differs is where a crash ends.
"""

from __future__ import annotations

import importlib.util
import os

from mnemic.errors import MissingExtra, RecipeError
from pipelines.engine.contracts import Engine, Job, ResultStream
from pipelines.engine.inline import InlineEngine

__all__ = ["Engine", "InlineEngine", "Job", "ResultStream", "choose_engine"]

ENGINES = ("inline", "ray")


def choose_engine(name: str | None = None, address: str | None = None, workers: int | None = None) -> Engine:
    """The engine called ``name``; without one Ray for an address, MNEMIC_ENGINE, Ray if it is installed, or inline.

    ``address`` is a Ray cluster's ("host:6379", "ray://host:10001", "auto"); without one RAY_ADDRESS counts, and then
    Ray is started on this machine for the time of the build. ``workers`` is the largest number of actors of a step.
    """
    installed = importlib.util.find_spec("ray") is not None
    if name is None:
        name = "ray" if address else os.environ.get("MNEMIC_ENGINE") or ("ray" if installed else "inline")
    if name not in ENGINES:
        raise RecipeError(f"There is no engine {name!r}; use inline or ray.")
    if workers is not None and workers < 1:
        raise RecipeError(f"A build cannot have {workers} workers; give at least 1, or none to use what is there.")
    if name == "inline":
        if address:
            raise RecipeError(f"The engine inline has no address, and {address!r} was given; use --engine ray.")
        return InlineEngine()
    if not installed:
        raise MissingExtra("The engine ray needs Ray: pip install 'mnemic[ray]', or build with --engine inline.")
    from pipelines.engine.ray_engine import RayEngine

    return RayEngine(address, workers)
