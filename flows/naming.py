"""How runs are called and tagged: a person with thirty banks looks for one by its recipe and its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect import get_client, get_run_logger
from prefect.runtime import flow_run

from mnemic.terminal import one_line
from pipelines.recipe import Recipe, load_recipe

LONGEST = 120


def name_of_build() -> str:
    """Recipe and bank of the build that is about to run."""
    parameters: dict[str, Any] = flow_run.parameters
    recipe = _recipe(parameters)
    return f"{one_line(recipe.name, 60)} in {place(parameters.get('bank') or recipe.root)}"


def name_of_upkeep() -> str:
    """The bank of the upkeep that is about to run."""
    return f"upkeep of {place(flow_run.parameters.get('bank'))}"


def place(bank: object) -> str:
    """A bank's place on a line, its end if it is long: that is what tells two apart."""
    text = one_line(str(bank), 1000)
    return text if len(text) <= LONGEST else f"...{text[3 - LONGEST :]}"


def tag_run(recipe: str, bank: str) -> None:
    """Tag this run with its recipe and its bank. A server that does not answer costs the run nothing but the tags."""
    tags = [f"recipe: {one_line(recipe, 60)}"] if recipe else []
    tags = [*flow_run.tags, "mnemic", *tags, f"bank: {place(bank)}"]
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(flow_run.id, tags=list(dict.fromkeys(tags)))
    except Exception as error:
        get_run_logger().warning("The run cannot be tagged (%s).", error)


def _recipe(parameters: Mapping[str, Any]) -> Recipe:
    recipe = parameters["recipe"]
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
