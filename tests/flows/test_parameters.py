"""What Prefect's page shows and checks is the recipe itself, without its secrets."""

import json

import jsonschema
import pytest
import yaml
from prefect.exceptions import ParameterTypeError
from prefect.utilities.callables import parameter_schema
from tiny_bank import tiny_recipe, write_corpus

from flows.build import build_bank
from pipelines.recipe import SHIPPED, Recipe, load_recipe
from pipelines.steps import steps_of

SCHEMA = parameter_schema(build_bank).model_dump()
RECIPE = SCHEMA["definitions"]["Recipe"]


def accepted(recipe) -> bool:
    """Whether the server would take it; it checks the parameters of a deployment against its schema."""
    return jsonschema.Draft202012Validator(SCHEMA).is_valid({"recipe": recipe})


def checked(recipe) -> Recipe:
    return build_bank.validate_parameters({"recipe": recipe})["recipe"]


def test_all_settings_are_shown_with_their_defaults():
    assert RECIPE["required"] == ["name", "sources"]
    assert set(RECIPE["properties"]) == set(Recipe.model_fields) - {"storage_options"}
    assert SCHEMA["definitions"]["Segment"]["properties"]["window"]["default"] == 3
    assert SCHEMA["properties"]["engine"]["anyOf"][0]["enum"] == ["inline", "ray"]
    described = [schema.get("description") for schema in SCHEMA["properties"].values()]
    assert all(described)
    assert "``" not in json.dumps(SCHEMA)


def test_what_a_person_may_write_is_accepted(tmp_path):
    assert accepted("demo")
    assert accepted(tiny_recipe(tmp_path, write_corpus(tmp_path / "corpus")))
    for file in SHIPPED.glob("*.yaml"):
        assert accepted(yaml.safe_load(file.read_text())), file.name
    assert accepted({"name": "mail", "sources": [{"kind": "mailbox", "server": "a source of another package"}]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"segmnt": {}},
        {"segment": {"windw": 3}},
        {"segment": {"window": "three"}},
        {"max_rejects": 2.0},
        {"sources": [{"kind": "folder", "path": "x", "sufixes": [".txt"]}]},
        {"sources": [{"path": "x"}]},
        {"deduplicate": {"ngram": 3}},
        {"datastore": {"model": "x"}},
        {"storage_options": {"aws_secret_access_key": "x"}},
    ],
    ids=str,
)
def test_what_is_wrong_or_secret_is_refused(wrong):
    assert not accepted({"name": "x", "sources": [{"kind": "folder", "path": "x"}], **wrong})


def test_the_defaults_of_the_page_are_those_of_the_recipe(tmp_path):
    """A form sends every field that it shows; the steps keep their fingerprints."""
    written = {"name": "x", "sources": [{"kind": "folder", "path": str(tmp_path)}]}
    shown = {name: field["default"] for name, field in RECIPE["properties"].items() if "default" in field}
    steps = zip(steps_of(load_recipe(written), "cpu"), steps_of(checked({**shown, **written}), "cpu"), strict=True)
    assert all(one.record.fingerprint == other.record.fingerprint for one, other in steps)


def test_the_flow_gets_a_checked_recipe_by_name_by_path_or_as_settings(tmp_path):
    assert checked("demo").name == "demo"
    assert checked(str(SHIPPED / "demo.yaml")) == checked("demo")
    settings = {"name": "x", "sources": [{"kind": "folder", "path": "y"}], "segment": {"window": 2}}
    recipe = checked(settings)
    assert isinstance(recipe, Recipe)
    assert recipe.segment.window == 2
    assert checked(recipe) == recipe


def test_mistakes_are_told_in_our_sentences():
    with pytest.raises(ParameterTypeError, match="There is no recipe 'dmeo'"):
        checked("dmeo")
    with pytest.raises(ParameterTypeError, match="did you mean `window`"):
        checked({"name": "x", "sources": [{"kind": "folder", "path": "y"}], "segment": {"windw": 2}})
