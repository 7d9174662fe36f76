"""Relations from answers: what passes, what is a reject, and that any split into batches gives the same rows."""

import json
import random
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from scripted_server import fact, relation

from mnemic.errors import RecipeError
from mnemic.ids import entity_id
from mnemic.notes.datasets import CALLS
from operators.written.facts import FactNotes
from operators.written.prompts import FACTS
from operators.written.relations import WrittenRelations
from operators.written.triples import TRIPLES

TEXTS = ["Ada: I moved to Paris yesterday.", "Bob: The mayor of Rome is Carl Stone since 2019.", "Ada: Rex is 7."]


def call(number, prompt, answer, texts=TEXTS, **changes):
    units = [
        {"n": n, "event": f"e{number}{n}", "start": 10 * n, "end": 10 * n + 9, "speaker": text.split(":")[0]}
        | {"time": datetime(2023, 5, 8, 9, tzinfo=UTC), "text": text}
        for n, text in enumerate(texts)
    ]
    row = {"call": f"c{number}", "document": f"d{number}", "tenant": "one", "session": "s", "pack": f"p{number}"}
    row |= {"part": "", "prompt": prompt.name, "model": "m", "units": units}
    return {**row, "answer": answer if isinstance(answer, str) else json.dumps(answer), **changes}


READ = pa.schema([CALLS.field(name) for name in call(0, TRIPLES, "")])


def made(calls, **settings):
    rows, rejects = WrittenRelations(**settings).open("cpu")(pa.RecordBatch.from_pylist(calls, schema=READ))
    return rows.to_pylist(), rejects.to_pylist()


def test_triples_that_stand_in_their_sources_are_relations():
    rows, rejects = made(
        [
            call(
                1,
                TRIPLES,
                {
                    "relations": [
                        relation("Ada", "Moved to", "Paris", [0], "2023-05-07"),
                        relation("Carl Stone", "Mayor of", "Rome", [1], "2019"),
                        relation("Rex", "age", "7", [2]),
                    ]
                },
            )
        ]
    )
    assert rejects == []
    moved, mayor, age = rows
    assert (moved["subject"], moved["label"], moved["object"], moved["functional"]) == (
        "Ada",
        "moved to",
        "Paris",
        False,
    )
    assert (moved["subject_entity"], moved["object_entity"]) == (entity_id("one", "ada"), entity_id("one", "paris"))
    assert moved["valid_from"] == datetime(2023, 5, 7, tzinfo=UTC) and moved["precision"] == "day"
    assert mayor["functional"] and mayor["valid_from"].year == 2019 and mayor["precision"] == "year"
    assert age["object_entity"] == "" and age["functional"] and age["valid_from"] is None
    assert moved["sources"] == [{"event": "e10", "start": 0, "end": 9}] and moved["note"] == ""


@pytest.mark.parametrize(
    ("triple", "reason"),
    [
        (relation("Zora", "moved to", "Paris", [0]), "its subject 'Zora' is in none of its sources"),
        (relation("Ada", "moved to", "London", [0]), "its object 'London' is in none of its sources"),
        (relation("Ada", "moved to", "Paris", [1]), "is in none of its sources"),
        (relation("Ada", "moved to", "Paris", [9]), "it cites unit 9, which was not asked about"),
        (relation("Ada", "moved to", "Paris", [0], "1999"), "its time '1999' is in none of its sources"),
        (relation("Ada", "moved to", "Paris", [0], "soon"), "its time 'soon' is none"),
        (relation("Ada", "  ", "Paris", [0]), "it has no label"),
        (relation("Ada", "possibly considered relocating towards", "Paris", [0]), "long words are in none"),
        (relation("Ada", "moved 12 times to", "Paris", [0]), "the number 12 is in none of its sources"),
    ],
)
def test_what_does_not_stand_there_is_a_reject_with_its_reason(triple, reason):
    rows, [reject] = made([call(1, TRIPLES, {"relations": [triple]})])
    assert rows == [] and reason in reject["reason"] and reject["input"] == "c1"


HOSTILE = [
    "",
    "null",
    "[]",
    '{"relations": NaN}',
    '{"relations": [{"subject": "Ada"}]}',
    "__import__('os').system('touch /tmp/owned')",
    '{"relations": [], "relations": []}',
    "[" * 100_000,
    json.dumps({"relations": [relation("Ada", "is", "Paris", [0])] * 81}),
    json.dumps({"relations": [{**relation("Ada", "is", "Paris", [0]), "run": "rm"}]}),
    json.dumps({"relations": [relation("A" * 500, "is", "Paris", [0])]}),
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_an_answer_that_is_none_is_a_reject(answer):
    rows, [reject] = made([call(1, TRIPLES, answer)])
    assert rows == [] and reject["reason"].startswith("A relation is left out: ")


def test_attributes_among_facts_are_relations_and_any_split_gives_the_same_rows():
    draw = random.Random(2)
    facts = [
        fact("Ada moved to Paris", [0], "Ada", "home", "Paris", "2023-05-07"),
        fact("Carl Stone is mayor of Rome", [1], "Rome", "mayor", "Carl Stone"),
        fact("Rex is 7", [2], "Rex"),
        fact("Zora sings", [0], "Zora", "hobby", "song"),
    ]
    triples = [relation("Ada", "moved to", "Paris", [0]), relation("Zora", "is", "Paris", [0])]
    calls = [
        call(number, FACTS, {"facts": draw.sample(facts, 3)})
        if draw.random() < 0.5
        else call(number, TRIPLES, {"relations": draw.sample(triples, 2)})
        for number in range(40)
    ]
    rows, rejects = made(calls)
    assert {row["prompt"] for row in rows} == {FACTS.name, TRIPLES.name} and rejects
    assert all("Zora" in reject["locator"] and "its subject" in reject["reason"] for reject in rejects)
    notes, _ = FactNotes().notes(pa.RecordBatch.from_pylist([one for one in calls if one["prompt"] == FACTS.name]))
    attributes = {row["id"]: row for row in notes.to_pylist() if row["kind"] == "attribute"}
    of_notes = {row["note"]: row for row in rows if row["note"]}
    assert of_notes.keys() == attributes.keys() and len(attributes) > 20
    for identity, row in of_notes.items():
        note = attributes[identity]
        assert (row["subject"], row["label"], row["object"]) == (note["subject"], note["attribute"], note["value"])
        same = ("valid_from", "valid_to", "sources", "said_at", "functional", "document", "writer", "grounded")
        assert all(row[name] == note[name] for name in same)
    draw.shuffle(calls)
    split = [made(calls[start : start + 7]) for start in range(0, len(calls), 7)]
    assert sorted((row["id"] for part, _ in split for row in part)) == sorted(row["id"] for row in rows)
    assert sorted((str(row) for part, _ in split for row in part)) == sorted(map(str, rows))


@pytest.mark.parametrize(
    "settings", [{"functional": "home"}, {"functional": [1]}, {"grounded": 2}, {"max_rejected": -1}]
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(RecipeError):
        WrittenRelations(**settings)
