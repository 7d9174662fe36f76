"""The flow `mnemic-consolidate`: a build, where something was remembered that waits for one.

Builds are on a schedule of their own, by which sources are read. What people remember comes at any time of the day and
waits in the bank's inbox, where a search finds it, at a cost that grows with what waits. So this flow looks often, and
builds only where enough waits.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.build import build_bank
from flows.parameters import RecipeParameter
from mnemic.bank import open_bank
from mnemic.errors import MnemicError
from pipelines.recipe import load_recipe


@flow(
    name="mnemic-consolidate",
    description="Build the bank of a recipe where something was remembered and waits for it.",
    persist_result=False,
)
def consolidate(
    recipe: RecipeParameter,
    bank: str | None = None,
    least: Annotated[int, Field(ge=1)] = 1,
    engine: Literal["inline", "ray"] | None = None,
    address: str | None = None,
    workers: Annotated[int, Field(ge=1)] | None = None,
    device: str | None = None,
) -> State[Any]:
    """Consolidate what a bank remembers. A bank in an object store is opened with the options of the environment.

    Args:
        recipe: The name of a shipped recipe, the path of a YAML file that the worker sees, or the settings themselves.
        bank: Another place than the recipe's, as the worker sees it.
        least: Texts and conversations that must wait, or nothing is built.
        engine: Default: MNEMIC_ENGINE of the worker's environment, else ray where it is installed.
        address: A Ray cluster. Default: RAY_ADDRESS of the worker's environment, else Ray is started on its machine.
        workers: Most Ray workers of a step. Default: what fits.
        device: cpu or cuda. Default: cuda where there is one.
    """
    loaded = load_recipe(recipe)
    try:
        waiting = len(open_bank(bank or loaded.root, storage_options=loaded.connection or None).inbox())
        if waiting < least:
            return Completed(message=f"{waiting:,} remembered texts wait, fewer than {least:,}: nothing to build")
        built: State[Any] = build_bank(
            recipe=loaded, bank=bank, engine=engine, address=address, workers=workers, device=device, return_state=True
        )
        built.result()  # raises what the build raised
    except MnemicError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"{waiting:,} remembered texts were taken in: {built.message}")
