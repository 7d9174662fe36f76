"""The parameters that a person may set on a run: the fields of a recipe, as Prefect's page shows and checks them.

Prefect makes the page from a JSON schema. pydantic derives nearly all of it from `Recipe` and the operators in it; what
it cannot know is mended here. Sources are `Any` in a recipe, since a package may add kinds of its own: the built-in
ones are shown with their fields. A section may be turned off with false, and on with true. A setting that a recipe says
once is left out of the sections that only read it (`operators.sections.shared_field`), which would refuse it. Storage
options are secrets: they are no parameters, which Prefect keeps and shows, but come from the worker's environment.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipelines.recipe import SHIPPED, Recipe, load_recipe
from pipelines.sections import sections
from pipelines.sources.kinds import SOURCES, find_source


class _ShownOnThePage:
    """JSON schema of a recipe parameter: a name or path, or the settings."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        recipe = handler(core)
        settings = handler.resolve_ref_schema(recipe)["properties"]
        settings.pop("storage_options", None)
        settings["sources"]["items"] = {"anyOf": [*(_source(kind, handler) for kind in SOURCES), _OTHER_SOURCE]}
        for section in sections():
            shown = settings[section.name]
            operator = handler.resolve_ref_schema(shown["anyOf"][0])
            if "description" in operator:  # a docstring, which the page shows as it is
                operator["description"] = operator["description"].replace("``", "")
            for said_elsewhere in section.shared:
                operator["properties"].pop(said_elsewhere, None)
                (shown["default"] or {}).pop(said_elsewhere, None)  # a section that is left out has no values
            shown["anyOf"] = [shown["anyOf"][0], {"title": "on or off", "type": "boolean"}]
            if not section.on:
                shown["default"] = False
        shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.yaml")))
        named = {"type": "string", "title": "name or path", "description": f"{shipped}, or the path of a YAML file"}
        return {"anyOf": [named, recipe]}


def _source(kind: str, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    schema = handler(find_source(kind).__pydantic_core_schema__)  # type: ignore[attr-defined]
    schema["description"] = schema["description"].replace("``", "")
    return {**schema, "required": ["kind", *schema.get("required", [])]}


_OTHER_SOURCE = {
    "title": "a source of another package",
    "type": "object",
    "properties": {"kind": {"type": "string", "not": {"enum": list(SOURCES)}}},
    "required": ["kind"],
}


def _loaded(recipe: Any) -> Recipe:
    return load_recipe(recipe)


RecipeParameter = Annotated[Recipe, BeforeValidator(_loaded), _ShownOnThePage()]
"""A recipe as a parameter: a shipped name, a path or the settings; the flow gets a checked `Recipe`."""
