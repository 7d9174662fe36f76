"""Personal data: against the standard library and plain definitions, on a labelled sample, and on hostile text."""

import ipaddress
import itertools
import json
import random
import re
import string
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import RecipeError
from mnemic.personal import PERSONAL_KINDS, PII
from operators.pii.countries import COUNTRIES, PHONES
from operators.pii.finder import Finder
from operators.pii.operator import PersonalData
from operators.pii.secrets import PREFIXES

SAMPLE = Path(__file__).parents[2] / "fixtures" / "curate" / "personal.jsonl"
FINDER = Finder(PERSONAL_KINDS, PersonalData.countries)


def found_in(text, kind=None):
    return [(text[begin:end], one) for begin, end, one in FINDER.of(text) if kind in (None, one)]


def shares(rows):
    """(precision, recall) of spans that agree in both ends and the kind."""
    right = ours = theirs = 0
    for row in rows:
        expected, spans = {tuple(span) for span in row["spans"]}, set(FINDER.of(row["text"]))
        right, ours, theirs = right + len(expected & spans), ours + len(spans), theirs + len(expected)
    return right / ours, right / theirs


def test_a_labelled_sample_is_read_with_few_mistakes():
    rows = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    assert len(rows) > 100 and {kind for row in rows for *_, kind in row["spans"]} == set(PERSONAL_KINDS)
    precision, recall = shares(rows)
    assert precision >= 0.95 and recall >= 0.95, (precision, recall)


SPECIAL = [number << 8 | 7 for number in (0xA9FE00, 0xC0A800, 0x0A0000, 0xC63364)]


@settings(max_examples=400)
@given(st.integers(0, (1 << 32) - 1) | st.sampled_from(SPECIAL))
def test_public_addresses_of_four_bytes_are_those_of_the_standard_library(number):
    address = ipaddress.IPv4Address(number)
    public = address.is_global and not address.is_multicast and not address.is_reserved
    assert found_in(f"from {address} on") == ([(str(address), "ip")] if public else [])


@settings(max_examples=300)
@given(st.integers(0x2000, 0x3FFF), st.integers(0, (1 << 112) - 1), st.booleans(), st.booleans())
def test_public_addresses_of_eight_groups_are_those_of_the_standard_library(top, rest, long, zeros):
    address = ipaddress.IPv6Address(top << 112 | (rest & 0xFFFF << 96 | 1 if zeros else rest))
    special = any(
        address in ipaddress.IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
    )
    text = address.exploded if long else address.compressed
    assert found_in(f"[{text}]:80") == ([] if special else [(text, "ip")])


@pytest.mark.parametrize(
    "text", ["2a00::1::2", "2a00:1:2:3:4:5:6:7:8", "2a00:1", "2a00:12345::1", "x2a00::1", "2a00::1g"]
)
def test_what_is_no_address_of_eight_groups_is_none(text):
    assert found_in(text, "ip") == []


def luhn_of(digits):
    """The check digit behind ``digits``, by the definition."""
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


@settings(max_examples=200)
@given(st.integers(0, 10**14 - 1), st.sampled_from(["4", "51", "55", "2221", "2720"]), st.sampled_from(["", " ", "-"]))
def test_cards_are_those_whose_check_digit_is_right(number, begin, between):
    digits = (begin + f"{number:014}")[:15]
    right = digits + luhn_of(digits)
    wrong = digits + str((int(luhn_of(digits)) + 1) % 10)
    shown = [between.join(one[place : place + 4] for place in range(0, 16, 4)) for one in (right, wrong)]
    assert found_in(f"card {shown[0]}.", "card") == [(shown[0], "card")]
    assert found_in(f"card {shown[1]}.", "card") == []


@settings(max_examples=200)
@given(st.text(string.digits, min_size=18, max_size=18), st.booleans(), st.integers(1, 96))
def test_accounts_are_those_whose_remainder_is_one(account, apart, shift):
    check = 98 - int(account + "131400") % 97  # D = 13, E = 14
    for added, right in ((0, True), (shift, False)):
        digits = f"{(check + added) % 97 + 97 * ((check + added) % 97 < 2):02}" if added else f"{check:02}"
        if not right and int(digits) % 97 == check % 97:
            continue
        iban = f"DE{digits}{account}"
        shown = " ".join(iban[place : place + 4] for place in range(0, 22, 4)) if apart else iban
        assert found_in(f"({shown})", "iban") == ([(shown, "iban")] if right else [])


EMAIL = re.compile(r"(?<![A-Za-z0-9._%+'-])[A-Za-z0-9][A-Za-z0-9._]{0,20}(?<!\.)@[a-z]{1,9}(?:\.[a-z]{2,6})+(?![\w.-])")


@settings(max_examples=300)
@given(st.text(string.ascii_lowercase + "0.@ \n,_", max_size=60))
def test_plain_addresses_are_those_of_a_pattern(text):
    patterned = {match[0] for match in EMAIL.finditer(text)}
    endings = {
        "css",
        "dll",
        "gif",
        "htm",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "mjs",
        "png",
        "scss",
        "svg",
        "tgz",
    }
    patterned = {one for one in patterned if one.rpartition(".")[2] not in {*endings, "webp", "whl"}}
    assert patterned <= {one for one, kind in found_in(text) if kind == "email"}


@pytest.mark.parametrize("code", sorted(PHONES))
def test_international_numbers_have_as_many_digits_as_their_plan(code):
    fewest, most = PHONES[code]
    for size in range(1, 16):
        national = ("2345678" * 3)[:size]
        expected = [(f"+{code} {national}", "phone")] if fewest <= size <= most else []
        assert found_in(f"tel +{code} {national}.", "phone") == expected, size


@pytest.mark.parametrize("prefix", PREFIXES)
def test_tokens_are_known_by_their_prefix(prefix):
    rest = "".join(random.Random(prefix).choices(string.ascii_letters + string.digits, k=PREFIXES[prefix]))
    assert found_in(f"key={prefix}{rest}, and", "key") == [(f"{prefix}{rest}", "key")]
    assert found_in(f"{prefix}", "key") == []


def test_values_drawn_at_random_are_told_from_words():
    draw = random.Random(0)
    drawn = ["".join(draw.choices(string.ascii_letters + string.digits, k=40)) for _ in range(200)]
    assert sum(found_in(f"value {one} here", "key") == [(one, "key")] for one in drawn) >= 190
    words = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "table",
        "index",
        "version",
        "column",
        "fragment",
        "commit",
        "reader",
        "writer",
        "vector",
    ]
    named = ["_".join(draw.choices(words, k=7)) + "_v2_3" for _ in range(200)]
    assert sum(bool(found_in(f"value {one} here", "key")) for one in named) == 0


def test_offsets_are_characters_and_spans_do_not_overlap():
    text = "\u00e4\U0001f600 ada@example.org \u8a18\u61b6 8.8.8.8 \u00fc +49 30 901820"
    assert [text[begin:end] for begin, end, _ in FINDER.of(text)] == ["ada@example.org", "8.8.8.8", "+49 30 901820"]
    assert found_in("\u90ae\u7bb1ada@example.org\u8bf7\u5199\u4fe1") == [("ada@example.org", "email")]
    assert found_in("4111111111111111@example.org") == [("4111111111111111@example.org", "email")]


def batch_of(texts):
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


def test_any_division_into_batches_gives_the_same_column():
    texts = [json.loads(line)["text"] for line in SAMPLE.read_text().splitlines()] + ["", " \n"]
    mark = PersonalData().open("cpu")
    whole, rejects = mark(batch_of(texts))
    assert whole.schema.field("pii").type == PII and rejects.num_rows == 0
    parts = [mark(batch_of(texts).slice(first, 7))[0]["pii"].to_pylist() for first in range(0, len(texts), 7)]
    assert [row for part in parts for row in part] == whole["pii"].to_pylist()
    assert whole["pii"].to_pylist() == [
        [{"begin": begin, "end": end, "kind": kind} for begin, end, kind in FINDER.of(text)] for text in texts
    ]


@settings(max_examples=200)
@given(
    st.lists(st.text(max_size=30) | st.sampled_from(["a@b.de", "+49 30 1234567", "8.8.8.8", "token=", "-----BEGIN"]))
)
def test_any_text_gives_spans_in_order_within_it(parts):
    text = "".join(parts)
    spans = FINDER.of(text)
    assert all(0 <= begin < end <= len(text) for begin, end, _ in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))


NEAR_MISSES = {
    "at signs": "a@",
    "labels": "a@a.a.a.",
    "domains": "x" * 60 + "@" + "y" * 60 + ".",
    "digits apart": "1 2 3 ",
    "digits": "0123456789",
    "plus": "+49 30 ",
    "zeros": "(030) ",
    "octets": "1.2.3.",
    "groups": "2a00:1:2:",
    "countries": "DE89 3704 0044 ",
    "cards": "4111 1111 1111 ",
    "names": "token=",
    "long names": "secret_" * 5 + ":",
    "headers": "-----BEGIN PRIVATE KEY-----\n",
    "headers with bodies": "-----BEGIN PRIVATE KEY-----\nMIIE\n",
    "web tokens": "eyJhbGci.",
    "runs": "aB3_" * 50 + " ",
    "one run": "aB3",
    "hyphens": "-",
    "prefixes": "sk-",
}


@pytest.mark.parametrize("megabytes", [1, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", NEAR_MISSES)
def test_megabytes_of_near_misses_take_time_in_proportion(name, megabytes):
    """A second for a megabyte is far above what any takes here, and far below what a backtracking search would."""
    repeated = NEAR_MISSES[name]
    FINDER.of("a@b.de")
    text = repeated * (megabytes * 1_000_000 // len(repeated))
    begun = time.process_time()
    FINDER.of(text)
    assert time.process_time() - begun < megabytes


def test_without_a_compiler_the_spans_are_the_same():
    code = """
import json, sys
import mnemic.compiled
mnemic.compiled.can_compile = lambda: False
from mnemic.personal import PERSONAL_KINDS
from operators.pii.finder import Finder
finder = Finder(PERSONAL_KINDS, ("US", "DE", "FR", "GB"))
assert "numba" not in sys.modules
print(json.dumps([finder.of(json.loads(line)["text"]) for line in open(sys.argv[1])]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(SAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spans = [[tuple(span) for span in row] for row in json.loads(done.stdout)]
    assert spans == [FINDER.of(json.loads(line)["text"]) for line in SAMPLE.read_text().splitlines()]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ("hide", "neither mark nor mask"),
        (5, "neither a word nor settings"),
        ({"kinds": ["emails"]}, "give a list of some of email"),
        ({"kinds": []}, "names none"),
        ({"kinds": "email"}, "give a list"),
        ({"countries": ["Germany"]}, "give a list of some of US"),
        ({"action": "mask", "key": "d41d8cd98f00b204e9800998ecf8427e"}, "name of an environment variable"),
        ({"key": "MNEMIC_PII_KEY"}, "nothing is masked"),
        ({"kind": ["email"]}, "no setting 'kind'"),
    ],
)
def test_settings_that_cannot_be_are_told(fields, sentence):
    with pytest.raises(RecipeError) as error:
        PersonalData.of(fields)
    assert sentence in str(error.value) and "d41d8cd98f00" not in str(error.value) and str(error.value).endswith(".")


def test_kinds_and_countries_are_a_choice():
    text = "ada@example.org, 8.8.8.8, 030 901820, (415) 555-2671"
    assert Finder(("ip",), ()).of(text) == [(17, 24, "ip")]
    assert [one for *_, one in Finder(("phone",), ()).of(text)] == []
    assert [text[a:b] for a, b, _ in Finder(("phone",), ("DE",)).of(text)] == ["030 901820"]
    assert PersonalData(kinds=["key", "email"]).kinds == ("email", "key") and set(COUNTRIES) > {"US", "DE"}
    assert np.array_equal(Finder(("ip",), ()).spans(pa.array([], pa.large_string()))[0], np.empty((0, 3)))
