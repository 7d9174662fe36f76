"""A recipe is checked whole before anything runs, and every mistake says what to write instead."""

import pytest

from mnemic.errors import RecipeError
from operators.deduplicate import Deduplicate
from pipelines.recipe import SHIPPED, Recipe, load_recipe
from pipelines.sections import sections
from pipelines.steps import steps_of

FOLDER = {"kind": "folder", "path": "texts"}


def problems(**content) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe({"name": "r", "sources": [FOLDER], **content})
    return str(caught.value)


def test_a_typo_names_the_nearest_setting():
    assert "`dedupliate` is not a setting: did you mean `deduplicate`?" in problems(dedupliate={})
    assert "did you mean `threshold`?" in problems(deduplicate={"treshold": 0.7})
    assert "did you mean `path`?" in problems(sources=[{"kind": "folder", "pth": "texts"}])


def test_all_mistakes_come_at_once():
    sentences = problems(segmet={}, max_rejects=2, deduplicate={"method": "magic"})
    assert "segment" in sentences and "max_rejects" in sentences and "magic" in sentences


def test_the_mistakes_of_all_sections_come_at_once_in_sentences():
    sentences = problems(
        nmae="x",
        max_rejects=2,
        sources=[{"kind": "folder"}, {"kind": "foldr"}, "texts"],
        signature={"permutations": 0},
        deduplicate={"threshold": 7, "ngram": 4},
        embed={"dtype": "int3"},
        segment={"method": "magic", "size": 0},
        cluster={"branching": 1},
        datastore={"model": "x", "student_depth": -3},
        teacher={"temperature": 0},
        imitate={"epochs": 0, "alpha": 7, "dtype": "int3"},
    )
    lines = sentences.splitlines()
    assert lines[0] == "the recipe cannot be used:"
    assert lines[-1] == "Mend these and run again."
    for beginning, holds in (
        ("`nmae` is not a setting", "did you mean `name`?"),
        ("`max_rejects`", "less than or equal to 1 (given: 2)."),
        ("`sources[0].path` is missing", "."),
        ("`sources[1]`: There is no source of kind 'foldr'", "did you mean 'folder'?"),
        ("`sources[2]`: 'texts' is not a source", "`kind: folder`"),
        ("`signature`: A signature needs permutations", "but they are 0"),
        ("`deduplicate.ngram` is said by `signature.ngram`", "set that instead."),
        ("`deduplicate`: The threshold of deduplication is 7.0", "such as 0.8."),
        ("`embed`: Unknown dtype 'int3'", "use auto, bfloat16 or float32."),
        ("`segment`: There is no segmenter 'magic'", "size is 0; give a number of at least 1"),
        ("`cluster`: A tree cannot have branching 1", "at least 2"),
        ("`datastore.model` is said by `language_model`", "set that instead."),
        ("`datastore`: The datastore's student_depth is -3.0", "between 0 and 1, such as 0.7."),
        ("`teacher`: The teacher's temperature is 0", "or leave it out to have it chosen."),
        (
            "`imitate`: The training's epochs is 0",
            "alpha is 7.0; give a share between 0 and 1, such as 0.4. Unknown dtype",
        ),
    ):
        (line,) = [line for line in lines if line.startswith(f"  {beginning}")]
        assert holds in line
    assert len(lines) == 17
    assert not any(noise in sentences for noise in ("Value error", "ArgsKwargs", "given: {", "..", "?."))


@pytest.mark.parametrize(
    ("section", "settings", "sentence"),
    [
        ("signature", {"seed": -1}, "give one between 0 and 4294967295"),
        ("deduplicate", {"bands": 20, "rows": 0}, "at least 1 row"),
        ("deduplicate", {"rows": 6}, "both bands and rows"),
        ("deduplicate", {"protected_texts": ["("]}, "no regular expression"),
        ("deduplicate", {"memory_gb": 0}, "give it 1 or more"),
        ("signature", {"unspaced": "syllables"}, 'use "characters"'),
        ("units", {"min_characters": 0}, "set min_characters to at least 1"),
        ("embed", {"max_tokens": 0}, "max_tokens is 0; give a number of at least 3"),
        ("embed", {"max_tokens": 2}, "max_tokens is 2; give a number of at least 3"),
        ("embed", {"batch_tokens": -1}, "batch_tokens is -1; give a number of at least 1"),
        ("embed", {"dtype": "int3"}, "use auto, bfloat16 or float32"),
        ("segment", {"deviations": float("nan")}, "deviations is nan; give a finite number"),
        ("surprise", {"signals": ["delight"]}, "delight"),
        ("denoise", {"rate": 0}, "rate"),
        ("datastore", {"dtype": "int3"}, "use auto, bfloat16 or float32"),
        ("datastore", {"window": 0}, "choose 1 <= stride < window"),
        ("datastore", {"stride": 512}, "choose 1 <= stride < window"),
        ("datastore", {"batch_tokens": 0}, "batch_tokens is 0; give a number of at least 1"),
        ("datastore", {"student_depth": -3}, "student_depth is -3.0; give a share between 0 and 1"),
        ("datastore", {"student_depth": 1.5}, "student_depth is 1.5; give a share between 0 and 1"),
        ("teacher", {"temperature": float("nan")}, "temperature is nan; give a number above 0"),
        ("teacher", {"mask_similarity": 0}, "mask_similarity is 0.0; give a similarity above 0 and at most 1"),
        ("neighbours", {"k": 0}, "k of the neighbours is 0; give a number of at least 1"),
        ("neighbours", {"search": "tree"}, "search of the neighbours is 'tree'; give auto, exact, lists or ivfpq"),
        ("neighbours", {"recall": 2}, "recall of the neighbours is 2.0; give a share above 0 and at most 1"),
        ("neighbours", {"memory_gb": 0}, "memory_gb of the neighbours is 0.0; give a number above 0"),
        ("imitate", {"epochs": 0}, "epochs is 0; give a number of at least 1"),
        ("imitate", {"optimiser": "sgd"}, "optimiser is sgd; give muon or adamw"),
        ("imitate", {"batch": 0}, "batch is 0; give a number of rows of at least 1"),
        ("imitate", {"blocks": 0}, "blocks is 0; give a number of at least 1"),
        ("imitate", {"alpha": 7}, "alpha is 7.0; give a share between 0 and 1"),
        ("imitate", {"alpha": float("nan")}, "alpha is nan; give a share between 0 and 1"),
        ("imitate", {"learning_rate": -1}, "learning_rate is -1.0; give a number of at least 0"),
        ("imitate", {"weight_decay": -1}, "weight_decay is -1.0; give a number of at least 0"),
        ("imitate", {"seed": -1}, "seed is -1; give a number between 0"),
        ("imitate", {"dtype": "int3"}, "use auto, bfloat16 or float32"),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_anything_runs(section, settings, sentence):
    sentences = problems(**{section: settings})
    assert f"  `{section}`: " in sentences
    assert sentence in sentences


def test_files_that_sections_name_are_looked_for_beside_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "place").mkdir()
    for name in ("facts.jsonl", "questions.txt", "good.txt", "bad.txt"):
        (tmp_path / "place" / name).write_text("A text of some words.\n")
    curate = "{contamination: {sets: [questions.txt]}, quality: {positives: [good.txt], negatives: [bad.txt]}}"
    (tmp_path / "place" / "recipe.yaml").write_text(
        "name: x\nsources: [{kind: folder, path: texts}]\nlanguage_model: m\n"
        f"rewrites: {{facts: [facts.jsonl], layers: [0]}}\ncurate: {curate}\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("place/recipe.yaml")
    rooted = {one.name: getattr(recipe, one.name) for one in sections() if hasattr(one.operator, "root")}
    assert {name: one.root for name, one in rooted.items()} == dict.fromkeys(rooted, "place")
    assert {"rewrites", "contamination", "quality"} <= rooted.keys()
    assert recipe.rewrites.resolved().digest


def test_a_value_that_is_no_list_says_how_to_write_one():
    for facts, named in (("facts.jsonl", "a text"), (3, "3"), ({"a": 1}, "a mapping of keys")):
        assert f"`rewrites.facts` is {named}, not a list; write it in brackets" in problems(rewrites={"facts": facts})


def test_a_section_without_settings_says_how_to_write_them():
    assert "`segment` is None, not settings; write them below it as `setting: value`" in problems(segment=None)


def test_bands_fit_into_the_signatures():
    assert "33 bands of 4 rows need 132 permutations and `signature.permutations` is 128" in problems(
        deduplicate={"bands": 33, "rows": 4}
    )
    assert "20 bands of 6 rows need 120 permutations and `signature.permutations` is 64" in problems(
        signature={"permutations": 64}
    )
    sentences = problems(signature={"permutations": 64}, segmet={})
    assert "`deduplicate`: 20 bands" in sentences and "did you mean `segment`?" in sentences
    assert "bands of" not in problems(signature={"permutations": "many"}, deduplicate={"bands": 32})
    for fitting in (
        {"signature": {"permutations": 96}, "deduplicate": {"bands": 12, "rows": 8}},
        {"signature": {"permutations": 64}, "deduplicate": {"method": "exact"}},
    ):
        assert load_recipe({"name": "r", "sources": [FOLDER], **fitting})


def test_a_source_must_be_known_named_once_and_there():
    assert "folder" in problems(sources=[{"kind": "foldr", "path": "x"}])
    assert "two sources are called" in problems(sources=[FOLDER, FOLDER])
    assert "sources" in problems(sources=[])
    assert "kind" in problems(sources=[{"path": "texts"}])
    assert "a list with at least one source" in problems(sources="texts")


def test_settings_that_operators_share_are_said_once():
    assert "`datastore.model` is said by `language_model`" in problems(datastore={"model": "x"})
    recipe = load_recipe(
        {"name": "r", "sources": [FOLDER], "language_model": "some/model", "split": {"max_document_tokens": 77}}
    )
    assert recipe.datastore.model == recipe.imitate.model == "some/model"
    assert recipe.datastore.max_document_tokens == 77


@pytest.mark.parametrize("language_model", [None, "some/model"])
def test_word_n_grams_are_said_once(language_model):
    content = {"name": "r", "sources": [FOLDER], "language_model": language_model, "signature": {"ngram": 3}}
    assert load_recipe(content).deduplicate == Deduplicate(ngram=3)
    assert Recipe(**content).deduplicate.ngram == 3
    assert "`deduplicate.ngram` is said by `signature.ngram`" in problems(deduplicate={"ngram": 3})


def test_files_that_are_no_recipe(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [unclosed\n")
    with pytest.raises(RecipeError, match="not readable as YAML"):
        load_recipe(broken)
    broken.write_text("name: r\nsources: 3\n")
    with pytest.raises(RecipeError, match="at least one source"):
        load_recipe(broken)
    broken.write_text("just words")
    with pytest.raises(RecipeError, match="mnemic init"):
        load_recipe(broken)
    with pytest.raises(RecipeError, match="one of: conversations, demo"):
        load_recipe("nothing-of-this-name")


def test_no_code_runs_from_a_recipe(tmp_path):
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text("name: !!python/object/apply:os.system ['touch /tmp/owned']\n")
    with pytest.raises(RecipeError, match="not readable"):
        load_recipe(hostile)


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_shipped_recipes_are_valid(name):
    assert isinstance(load_recipe(name), Recipe)


def test_a_folder_is_relative_to_its_recipe(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "r.yaml").write_text("name: r\nsources: [{kind: folder, path: texts}]\n")
    (source,) = load_recipe(tmp_path / "r.yaml").sources
    assert [item.locator for item in source.manifest()] == ["a.txt"]


def test_without_a_language_model_there_are_no_parametric_steps():
    names = [
        step.name for step in steps_of(load_recipe({"name": "r", "sources": [FOLDER], "embed": {"dtype": "float32"}}))
    ]
    assert names == ["read", "signature", "deduplicate", "units", "embed", "segment", "cluster"]


@pytest.mark.parametrize("section", ["decoder", "control"])
def test_a_memory_that_waits_for_a_language_model_is_told(section):
    content = {"name": "r", "sources": [FOLDER], section: {}}
    with pytest.raises(RecipeError, match=f"`{section}` needs the step teacher, which does not run"):
        steps_of(load_recipe(content))
    assert steps_of(load_recipe({**content, section: False, "imitate": {"epochs": 2}}))


def test_a_key_that_stands_twice_is_told(tmp_path):
    (tmp_path / "twice.yaml").write_text("name: r\nsources: []\nname: s\n")
    with pytest.raises(RecipeError, match=r"not readable as YAML at line 1 \(`name` stands twice\)"):
        load_recipe(tmp_path / "twice.yaml")
