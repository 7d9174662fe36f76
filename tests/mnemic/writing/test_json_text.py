"""What a model wrote is read strictly: hostile JSON is a phrase, never a value."""

import time

import pytest

from mnemic.writing.json_text import Malformed, read_json

SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
        "text": {"type": ["string", "null"], "minLength": 1, "maxLength": 5},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "share": {"type": "number"},
    },
    "required": ["n"],
    "additionalProperties": False,
}


def test_an_answer_of_the_schema_is_its_value_also_in_a_fence():
    value = {"n": [1, 2], "text": None, "kind": "a", "share": 0.5}
    plain = '{"n": [1, 2], "text": null, "kind": "a", "share": 0.5}'
    assert read_json(plain, SCHEMA) == value
    assert read_json(f"```json\n{plain}\n```\n", SCHEMA) == value
    assert read_json('{"n": [1], "text": "a}[{"}', SCHEMA) == {"n": [1], "text": "a}[{"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Sure! {}", "no JSON"),
        ('{"n": [1]', "no JSON"),
        ('{"n": [1]} and more', "no JSON"),
        ("[]", "is no object"),
        ("{}", "lacks 'n'"),
        ('{"n": []}', "has 0 items"),
        ('{"n": [1, 2, 3, 4]}', "has 4 items"),
        ('{"n": [true]}', "is no integer"),
        ('{"n": [1.5]}', "is no integer"),
        ('{"n": [1], "n": [2]}', "a key twice"),
        ('{"n": [1], "text": "sixsix"}', "6 characters, more than 5"),
        ('{"n": [1], "text": ""}', "is empty"),
        ('{"n": [1], "kind": "c"}', "none of a, b"),
        ('{"n": [1], "run": "rm"}', "nobody asked for"),
        ('{"n": [1], "share": NaN}', "holds NaN"),
        ('{"n": [1], "share": -Infinity}', "holds -Infinity"),
        ('{"n": [1], "share": 1e999}', "too long"),
        ('{"n": [' + "9" * 5000 + "]}", "more than 15 digits"),
        ('{"n": [' + "9" * 16 + "]}", "more than 15 digits"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ("x" * ((1 << 20) + 1), "more than 1,048,576"),
        ('{"n": ["' + '\\"' * 500_000, "no JSON"),
        ('"' * 1_000_000, "no JSON"),
        ("\n```" * 250_000, "no JSON"),
        ("__import__('os').system('id')", "no JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_everything_else_is_told_in_a_phrase(text, fault):
    started = time.process_time()
    with pytest.raises(Malformed, match=fault):
        read_json(text, SCHEMA)
    assert time.process_time() - started < 2, "time in proportion to the text"
