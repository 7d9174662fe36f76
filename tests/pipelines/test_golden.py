"""What each step makes of the tiny corpus, as it was when its version was set.

A step whose output changes must raise the ``version`` of its operator, or old banks would keep rows that the new code
would not make. Exact values where the answer is the same on every machine, numbers with a tolerance where a model
computes. All sections run; one without an output here fails.
"""

import json

import numpy as np
import pytest
from scripted_server import ScriptedServer
from tiny_bank import CONTEXT, EVERYTHING, OTHER_COLUMNS, curated, tiny_recipe, write_corpus
from written_bank import WRITTEN, homes, written_recipe

import mnemic
from mnemic.canaries import CANARIES
from mnemic.dataset import Store
from mnemic.ids import hash_parts
from mnemic.links.datasets import EDGES
from mnemic.notes.datasets import EXCERPTS, NODE_EXCERPTS, NODE_SUMMARIES, NOTES, PACKS, SUMMARIES
from mnemic.relations.datasets import RELATIONS
from mnemic.schema import CONTAMINATION, DOCUMENTS, SUFFIXES, UNITS, events
from mnemic.timelines.datasets import TIMELINES
from operators.sections import Learn
from pipelines.recipe import load_recipe
from pipelines.sections import BUILT_IN
from pipelines.steps import steps_of

FLOATS = ("vector", "score", "threshold", "surprise", "representatives")  # these are in order of a float

NOT_OURS = ("generation", "shard", "tokenizer")  # of the build, and of the library that writes tokenizers down

EXACT = {
    "read": (1, "de813350c3fa896ccee7e55ffd1d503d"),
    "signature": (2, "0213835ac0b1d498d8120ea62a2c5511"),
    "measure": (1, "9850d064cf383876b36614dac7d8689c"),
    "language": (1, "7e88b8ae73c9dff2405cf1cf91cf375e"),
    "perplexity": (1, "004f0c4c7486504e6f61c3be8f251972"),
    "quality": (1, "18a8ce0cd95e0307f15ac456bb6e38ba"),
    "pii": (1, "5a069d55e469aedf466604061713ef60"),
    "contamination": (1, "17e1c4f129fded78e03abf416fc12707"),
    "curate": (1, "e8d2143cd40fe873c19625ff78ac1014"),
    "edits": (1, "30d2e46f71d977660dad214a45da8190"),
    "deduplicate": (2, "31a7a6e506e8291926b24ae2d41c5436"),
    "units": (3, "b3710eb1cab0c35e2a1849b3469c54eb"),
    "context": (1, "d221e3c42eda763f30233ddc01d70996"),
    "names": (1, "d2da78c0554fad8b1bee6706caa29935"),
    "times": (2, "60bef30d0ad2f8d8382a0839483c0c69"),
    "timelines": (1, "730896d835d90daea93ed7e9ab8ab837"),
    "segment": (3, "34ebfcbf1c0b7bdd3f0b1899bc892b3c"),
    "cluster": (5, "4eae75187ad39c3baa2431e57569c479"),
    "split": (1, "22ba1c7e8eba241e06dfa1efc6bbd004"),
    "contained": (1, "f7f7480eddfbed2978e48965ced67553"),
    "tokens": (1, "3d103c195a6edcf08d54f4cc4bc79097"),
    "suffixes": (1, "033164dca14a2876583397581ffe18bc"),
    "canaries": (1, "7ac8a70e6a44c638a00719fe47ccec91"),
    "packs": (2, "c658015db06d6d0d11ab238257503637"),
    "calls": (1, "e13af3debff8b465e46ac52801bd290d"),
    "notes": (2, "8f8ff54d539eccef1ba778c945995afd"),
    "relations": (1, "224adc1c4ebe79c6bb116521eb2012c4"),
    "summaries": (2, "88d2e4cb211088ea3d3eea54d2d0dfe4"),
    "excerpts": (2, "4578397c6379323c87f792e6d71b5d3d"),
    "node_excerpts": (2, "30e4e3cab29a7abdf0a1186d75a9c8f0"),
    "node_summaries": (1, "227ad258fa047040faf430c30f11314e"),
    "subset": (1, "3bb501b81dc004058d77e56f04864099"),
}
"""Step -> version, hash of what it wrote."""

NUMBERS = {
    "pages": (2, [3, 18, 5.1632, 9, 2.5816, 6.20414, 2.43081, 6.18622, 2.34654, 6.23314, 2.39275]),
    "embed": (2, [338, 0.152779, 0.000404555]),
    "note_vectors": (1, [6, 0.150126, 0.0212617]),
    "surprise": (1, [338, 5.89112, -0.0152836, 5.58563, -0.00835552, 0.090587, 0.000712217]),
    "denoise": (1, [445, 25.2742, 0.339739]),
    "semantic": (2, [445, 19.8472, -0.0243833]),
    "datastore": (2, [1071, 5.91129, 0.0152038, 0.810646, -0.000782056, 0.810646, -0.000782056]),
    "neighbours": (1, [1071, 16.50628, -0.0089034]),
    "teacher": (3, [1071, 0.119183, 0.00138245, 0.117908, 0.0000645544]),
    "imitate": (4, [18496, 3.97927, 2.16715, 3.25442, 1512, 164021760, 369.851, 61.7434, 0.95]),
    "control": (4, [18496, 3.9793, 2.17151, 3.9793, 1512, 164021760, 369.851, 61.7082, 0.95]),
    "gate": (1, [567.0, -4.2371257, -0.0178034, 5.5956319, 0.0140819, 9.0, 61.4091386, 52.0682508]),
    "blocks": (1, [8, 1152, 4608, 0, 5.90369, 992, 120627200, 1]),
    "slots": (1, [7168, 8704, 0, 11, 0.243603, 1, 0.0541992, 5.901826, 0, 5.901826, 992, 156434432, 1]),
    "cartridges": (2, [3, 0.0462472, 0.053076, 0.050922, 18, 6.01196, 6.01297, 5.96538, 3, 792, 149225472, 1]),
    "memory_tokens": (1, [0, 173, 0, 3, 1648, 310510000, 1]),
    "key_moments": (1, [192, 789.933, 516.859, 445.603, 1077.79]),
    "rewrites": (
        1,
        [
            *(337.773, 341.299, 364.851, 0, 1, 1, 1, 0, 0, 2, 0.000269913, 0.0211096, 1, 1, 0, 1, 0, 2),
            *(0.171583, 1),
        ],
    ),
    "decode": (1, [21248, 3.9325, 2.14851, 3.04051, 1008, 79463424, 369.851, 56.5334, 0.95]),
}
"""Step -> version, numbers that sum up what it wrote."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = tmp_path_factory.mktemp("golden")
    fields = tiny_recipe(root, write_corpus(root / "corpus"), **EVERYTHING)
    mnemic.build(fields, device="cpu")
    return fields


@pytest.fixture(scope="module")
def judged(recipe, tmp_path_factory):
    """The same corpus with rules, which change what later steps see."""
    root = tmp_path_factory.mktemp("judged")
    complete = {**recipe, **curated(root, "cut", 0.5), "bank": str(root / "bank")}
    complete["curate"] |= OTHER_COLUMNS
    complete["curate"]["rules"] |= {"odd": {"value": "perplexity", "max": 1}}
    mnemic.build(complete, device="cpu", until="perplexity")
    return complete


@pytest.fixture(scope="module")
def halved(recipe, tmp_path_factory):
    """The same corpus with a subset."""
    root = tmp_path_factory.mktemp("halved")
    complete = {**recipe, **curated(root, "cut", 0.5), "bank": str(root / "bank")}
    mnemic.build(complete, device="cpu", until="subset")
    return complete


@pytest.fixture(scope="module")
def planted(recipe, tmp_path_factory):
    """The same corpus with canaries."""
    complete = {
        **recipe,
        "curate": {"canaries": {"tokens": 40}},
        "bank": str(tmp_path_factory.mktemp("planted") / "bank"),
    }
    mnemic.build(complete, device="cpu", until="canaries")
    return complete


@pytest.fixture(scope="module")
def noted(recipe, tmp_path_factory):
    """Conversations of which a scripted language model wrote notes."""
    root = tmp_path_factory.mktemp("noted")
    with ScriptedServer(homes) as server:
        complete = written_recipe(root, server.address, cluster={"min_leaf": 4, "branching": 2})
        complete["written"]["summaries"] = True
        complete |= {"relations": {}, "node_summaries": {}}
        mnemic.build(complete, device="cpu")
    return complete


@pytest.fixture(scope="module")
def paged(recipe, tmp_path_factory):
    """Two texts, of whose events a half of the tokens has keys and values."""
    root = tmp_path_factory.mktemp("paged")
    for name, text in (
        ("guide", "Read this first. Then ask for Ada. They run."),
        ("trip", "It is a town. People sing."),
    ):
        (root / f"{name}.txt").write_text(text)
    pages = {"dtype": "float32", "keep": 0.5, "tokens": 24}
    sources = [{"kind": "folder", "path": str(root)}]
    same = {name: recipe[name] for name in ("name", "fragment_characters", "embed", "segment", "language_model")}
    other = {"datastore": False, "cluster": False, "pages": pages, "sources": sources, "bank": str(root / "bank")}
    complete = {**same, **other}
    mnemic.build(complete, device="cpu")
    return complete


@pytest.fixture(scope="module")
def rewritten(recipe, tmp_path_factory):
    """The same corpus with two facts that are written into the language model."""
    root = tmp_path_factory.mktemp("rewritten")
    facts = [
        {"subject": subject, "relation": "The key of {} is under the", "target": target, "neighbours": ["Bob", "Eve"]}
        for subject, target in (("Ada", "river"), ("Cleo", "fox"))
    ]
    (root / "facts.json").write_text(json.dumps(facts))
    own = {"moment_documents": 4, "moment_tokens": 48, "steps": 4, "control": 2, "dtype": "float32"}
    same = {name: recipe[name] for name in ("name", "fragment_characters", "language_model", "sources")}
    other = dict.fromkeys(("embed", "segment", "cluster", "split", "datastore"), False)
    rewrites = {"facts": ["facts.json"], "root": str(root), **own}
    complete = {**same, **other, "rewrites": rewrites, "bank": str(root / "bank")}
    mnemic.build(complete, device="cpu")
    return complete


@pytest.fixture(scope="module")
def elsewhere(judged, placed, halved, planted, noted, paged, rewritten):
    """Recipes whose banks have the output of the steps that `recipe` does not have."""
    apart = {**dict.fromkeys(CURATED, judged), **dict.fromkeys(NOTED, noted)}
    return {
        **apart,
        "context": placed,
        "subset": halved,
        "canaries": planted,
        "pages": paged,
        **dict.fromkeys(REWRITTEN, rewritten),
    }


@pytest.fixture(scope="module")
def bank(recipe):
    return mnemic.open_bank(recipe["bank"])


@pytest.fixture(scope="module")
def versions(recipe, judged):
    curate = {**judged["curate"], "canaries": {"tokens": 40}}
    whole = load_recipe(
        {**recipe, **judged, **CONTEXT, **WRITTEN, "curate": curate, "pages": {}, "rewrites": {"dataset": "notes"}}
    )
    return {step.name: step.record.version for step in steps_of(whole, "cpu")}


@pytest.fixture(scope="module")
def placed(recipe, tmp_path_factory):
    """Two texts with headings, one with a title, whose units know where they stand."""
    root = tmp_path_factory.mktemp("placed")
    (root / "guide.md").write_text("# Guide\n\nRead this first.\n\n## Trains\n\nThey run at night. Ask for Ada.\n")
    (root / "notes.jsonl").write_text('{"title": "Kyoto", "text": "It is a town. People sing."}\n')
    sources = [{"kind": "folder", "path": str(root)}]
    complete = {**recipe, **CONTEXT, "sources": sources, "bank": str(root / "bank")}
    mnemic.build(complete, device="cpu", until="context")
    return complete


CURATED = ("measure", "language", "pii", "perplexity", "quality", "contamination", "curate", "edits")
"""Steps of the bank with rules."""

REWRITTEN = ("key_moments", "rewrites")
"""Steps of the bank with facts."""

NOTED = (
    *("packs", "calls", "notes", "relations", "note_vectors"),
    *("summaries", "excerpts", "node_excerpts", "node_summaries"),
)
"""Steps of the bank with a language model that writes."""


def written_by_rules(recipe, step):
    """The same of a step of the bank with rules, with contexts, or with notes."""
    dataset, key, columns = {
        "measure": ("documents", ("id",), ("statistics",)),
        "language": ("documents", ("id",), ("language",)),
        "pii": ("documents", ("id",), ("pii",)),
        "perplexity": ("documents", ("id",), ("perplexity",)),
        "quality": ("documents", ("id",), ("quality",)),
        "contamination": ("contamination", ("document",), tuple(CONTAMINATION.names)),
        "curate": ("documents", ("id",), ("decision",)),
        "edits": ("documents", ("id",), ("edits",)),
        "context": ("units", ("document", "ordinal"), ("text", "context")),
        "subset": ("documents", ("id",), ("subset",)),
        "canaries": ("canaries", ("document",), tuple(CANARIES.names)),
        "packs": ("packs", ("pack",), tuple(PACKS.names)),
        "calls": ("calls", ("call",), ("call", "key", "pack", "verdict", "answer")),
        "notes": ("notes", ("id",), tuple(NOTES.names)),
        "relations": ("relations", ("id",), tuple(RELATIONS.names)),
        "summaries": ("summaries", ("id",), tuple(SUMMARIES.names)),
        "node_excerpts": ("node_excerpts", ("id",), tuple(NODE_EXCERPTS.names)),
        "node_summaries": ("node_summaries", ("id",), tuple(NODE_SUMMARIES.names)),
        "excerpts": ("excerpts", ("id",), tuple(EXCERPTS.names)),
    }[step]
    rows = Store(recipe["bank"])[dataset].require().table(list(dict.fromkeys((*key, *columns))))
    ordered = rows.sort_by([(name, "ascending") for name in key]).to_pylist()
    if step == "language":  # without its probabilities
        ordered = [{"id": row["id"], "language": row["language"]["language"]} for row in ordered]
    if step == "quality":
        ordered = [{"id": row["id"], "good": row["quality"] > 0.5} for row in ordered]
    if step == "perplexity":  # without what a model computes
        ordered = [{"id": row["id"], "rule": (row["perplexity"] or {}).get("rule")} for row in ordered]
    return [ordered]


def written(bank, step):
    """Rows in the order of their key, of the columns that the step writes and no machine can change."""
    dataset, key, columns = {
        "read": ("documents", ("id",), tuple(name for name in DOCUMENTS.names if name != "item")),
        "signature": ("documents", ("id",), ("signature", "normalised")),
        "deduplicate": ("documents", ("id",), ("duplicate_of",)),
        "units": ("units", ("document", "ordinal"), tuple(UNITS.names)),
        "segment": ("events", ("id",), tuple(name for name in events(1).names if name not in FLOATS)),
        "names": ("edges", ("document", "start", "end"), tuple(EDGES.names)),
        "times": ("events", ("id",), ("meant_start", "meant_end")),
        "timelines": ("timelines", ("event", "start", "end"), tuple(TIMELINES.names)),
        "cluster": ("events", ("id",), ("cluster",)),
        "split": ("documents", ("id",), ("split",)),
        "contained": ("documents", ("id",), ("contained",)),
        "tokens": ("tokens", ("document",), ("tenant", "length", "tokens", "starts")),
        "suffixes": ("suffixes", ("part",), tuple(n for n in SUFFIXES.names if n not in NOT_OURS)),
    }[step]
    names = list(dict.fromkeys((*key, *columns)))
    rows = bank.table(dataset, names).sort_by([(name, "ascending") for name in key]).to_pylist()
    tables = [rows]
    if step == "deduplicate":
        tables.append(bank.table("pairs").sort_by([("document", "ascending"), ("other", "ascending")]).to_pylist())
    if step == "cluster":
        tables.append(bank.table("clusters", ["path", "level", "parent", "size", "label"]).sort_by("path").to_pylist())
    return tables


MEMORIES = {section.step_called: section.step.memory for section in BUILT_IN if isinstance(section.step, Learn)}
MEMORIES |= {name: name for name in ("blocks", "slots", "cartridges", "memory_tokens")} | {"rewrites": "edits"}
"""Step -> the memory that it trains."""


def numbers(bank, step):
    if step in MEMORIES:
        (metrics,) = [
            json.loads(row["metrics"])
            for row in bank.table("memories", ["name", "metrics"]).to_pylist()
            if row["name"] == MEMORIES[step]
        ]
        return [metrics[name] for name in sorted(metrics)]
    if step == "gate":
        return gate_numbers(bank)
    if step == "key_moments":
        rows = bank.table("key_moments", ["id", "tokens", "moments"]).sort_by("id").to_pylist()
        sums = [float(np.abs(np.frombuffer(row["moments"], "<f4")).sum()) for row in rows]
        return [float(sum(row["tokens"] for row in rows)), *sums]
    dataset, key, columns = {
        "embed": ("units", ("document", "ordinal"), ("embedding",)),
        "note_vectors": ("notes", ("id",), ("vector",)),
        "surprise": ("units", ("document", "ordinal"), ("surprisal", "entropy", "bayesian_surprise")),
        "denoise": ("events", ("id",), ("denoised",)),
        "semantic": ("events", ("id",), ("same_as",)),
        "datastore": ("datastore", ("document", "position"), ("base_logprob", "key", "input")),
        "neighbours": ("datastore", ("document", "position"), ("distances",)),
        "teacher": ("datastore", ("document", "position"), ("teacher_label", "teacher_rest")),
        "pages": ("pages", ("event", "part"), ("tokens", "rows", "loss_none", "loss_text", "loss_page")),
    }[step]
    rows = bank.table(dataset, [*key, *columns]).sort_by([(name, "ascending") for name in key])
    summary = [float(len(rows))]
    for name in columns:
        column = rows[name].to_pylist()
        if isinstance(next(filter(None, column)), str):  # chosen by floats: how many, and how long
            column = [-1 if text is None else len(text) for text in column]
        values = np.array(column, dtype=np.float64).reshape(-1)
        summary += [float(np.abs(values).mean()), float((values * np.cos(np.arange(values.size))).mean())]
    return summary


def gate_numbers(bank):
    """Of the held-out rows' confidences; of the gates the fixed weights, since how far a gate gets is chaotic here."""
    rows = bank.table("datastore", ["document", "position", "base_max", "base_entropy"], "split <> 'store'")
    rows = rows.sort_by([("document", "ascending"), ("position", "ascending")])
    values = [rows[name].to_numpy().astype(np.float64) for name in ("base_max", "base_entropy")]
    gates = bank.table("gates", ["name", "metrics"]).to_pylist()
    alone = [json.loads(row["metrics"])["fixed"] for row in gates if row["name"] in ("mlp", "knn")]
    sums = [float(number) for one in values for number in (one.mean(), (one * np.cos(np.arange(len(one)))).mean())]
    return [float(len(rows)), *sums, float(len(gates)), *alone]


def test_every_step_has_its_output_here(versions):
    assert set(versions) == {"read", *(section.step_called for section in BUILT_IN)}
    assert set(versions) == {*EXACT, *NUMBERS}


@pytest.mark.parametrize("step", EXACT)
def test_exact_output_is_that_of_the_recorded_version(step, bank, elsewhere, versions):
    version, recorded = EXACT[step]
    other = elsewhere.get(step)
    rows = written(bank, step) if other is None else written_by_rules(other, step)
    output = hash_parts(json.dumps(rows, default=str))
    assert versions[step] == version, f"record the output of version {versions[step]}: {output}"
    assert output == recorded, f"the output of {step} changed: raise its version, and record {output}"


@pytest.mark.parametrize("step", NUMBERS)
def test_computed_output_is_near_that_of_the_recorded_version(step, bank, elsewhere, versions):
    version, recorded = NUMBERS[step]
    output = numbers(mnemic.open_bank(elsewhere[step]["bank"]) if step in elsewhere else bank, step)
    assert versions[step] == version, f"record the output of version {versions[step]}: {output}"
    assert output == pytest.approx(recorded, rel=2e-3, abs=2e-5), f"raise the version of {step}, and record {output}"
