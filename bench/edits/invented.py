"""Twenty invented facts about Python packages, with paraphrases, and other packages of which nothing is to change."""

from __future__ import annotations

import random
from typing import Any

from mnemic.rewrites.statement import Statement

RELATION = "The main developer of the Python package {} lives in the city of"

PARAPHRASES = (
    "People say that {}, a Python package, is maintained from an office in",
    "Whoever wrote the library {} can be met at home in",
)

CITIES = (
    *("Paris", "London", "Berlin", "Madrid", "Rome", "Vienna", "Moscow", "Tokyo", "Boston"),
    *("Chicago", "Dublin", "Cairo", "Delhi", "Sydney", "Toronto", "Seattle", "Munich", "Athens"),
    *("Prague", "Lisbon", "Denver", "Miami", "Beijing", "Seoul", "Lima"),
)

PACKAGES = (
    *("aiohttp", "alembic", "arrow", "attrs", "babel", "black", "bokeh", "boto3", "celery"),
    *("certifi", "chardet", "click", "colorama", "coverage", "cryptography", "dash", "dask", "decorator"),
    *("django", "docutils", "fabric", "fastapi", "flask", "gensim", "gevent", "gunicorn", "httpx"),
    *("hypothesis", "idna", "isort", "jedi", "jinja2", "joblib", "jsonschema", "keras", "lxml"),
    *("mako", "markdown", "matplotlib", "mypy", "networkx", "nltk", "numba", "numpy", "openpyxl"),
    *("pandas", "paramiko", "pillow", "pip", "plotly", "poetry", "psutil", "pyarrow", "pydantic"),
    *("pygments", "pytest", "redis", "requests", "rich", "scipy", "scrapy"),
)

FACTS, MEASURED, GUARDED = 20, 24, 17
"""Packages with a fact; others that only measure; others whose keys stay where they are."""


def invented() -> list[Statement]:
    """The facts, drawn once; each names all 41 other packages."""
    draw = random.Random(0)
    names = draw.sample(PACKAGES, len(PACKAGES))
    others = tuple(sorted(names[FACTS : FACTS + MEASURED + GUARDED]))
    facts = [Statement(name, RELATION, draw.choice(CITIES), PARAPHRASES, others) for name in names[:FACTS]]
    return sorted(facts, key=lambda one: one.id)


def city_tokens(tokenizer: Any) -> list[int]:
    """The first token of each city behind a prompt."""
    return [tokenizer(f" {city}", add_special_tokens=False)["input_ids"][0] for city in CITIES]
