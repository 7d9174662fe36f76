"""The inputs that determine a step's output, and the fingerprint made of them.

A record names the operator, its version, its resolved fields and the fingerprints of the steps whose columns it reads.
Devices, worker counts and paths are not in it: a model's address is replaced by the hash of its weights. The record is
stored with the data, so that `plan` can name the field that changed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from mnemic.ids import hash_parts
from mnemic.languagemodel.tokenizer_files import tokenizer_files_hash
from mnemic.models import weights_hash
from operators.sections import says_nothing


@dataclasses.dataclass(frozen=True)
class Record:
    """Identity of a step's output. ``corpus`` is the digest of the rows that a corpus step looked at, else "".

    ``found`` is a result, kept beside the data and in lineage; it is no part of the identity.
    """

    step: str
    version: int
    fields: Mapping[str, Any]
    reads: Mapping[str, str]  # step name -> fingerprint
    corpus: str = ""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what a corpus step counted or chose

    @property
    def fingerprint(self) -> str:
        """Hash of step, version, fields and what it reads; the corpus is left out, so appending rows keeps it."""
        return hash_parts("step", self.step, self.version, _canonical(self.fields), _canonical(self.reads))

    @property
    def state(self) -> str:
        """Hash of the fingerprint and the corpus: what a corpus step's output is valid for."""
        return hash_parts("state", self.fingerprint, self.corpus)

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "fingerprint": self.fingerprint, "state": self.state}

    def changes_from(self, stored: Mapping[str, Any]) -> list[str]:
        """The differences from a stored record, each as a phrase; none when the fingerprints agree."""
        if stored.get("fingerprint") == self.fingerprint:
            return []
        changes = []
        if stored.get("version") != self.version:
            changes.append(f"{self.step} is now version {self.version} (was {stored.get('version')})")
        own = json.loads(json.dumps(dict(self.fields)))  # as a stored record has them: no tuples
        before, now = _flatten(stored.get("fields", {})), _flatten(own)
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                changes.append(f"{self.step}.{name}: {_short(before.get(name))} -> {_short(now.get(name))}")
        earlier = stored.get("reads", {})
        for step in sorted(earlier.keys() | self.reads.keys()):
            if earlier.get(step) != self.reads.get(step):
                changes.append(f"{step} changed")
        return changes or [f"{self.step} changed"]


def resolved_fields(operator: Any, hash_of: Callable[[str], str] = weights_hash) -> dict[str, Any]:
    """The fields of an operator as they enter its fingerprint; those marked otherwise are left out.

    So are those that came later, while they have their defaults.

    ``hash_of`` gives the hash of the model at an address.
    """
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(operator):
        if not field.metadata.get("identity", True):
            continue
        value = getattr(operator, field.name)
        if says_nothing(field, value):
            continue
        if field.metadata.get("model") and value is not None:
            value = hash_of(value)
        if field.metadata.get("tokenizer"):
            value = tokenizer_files_hash(value)
        fields[field.name] = value
    return fields


def models_of(operator: Any) -> list[str]:
    """Addresses of the models that enter the fingerprint of an operator."""
    fields = [field for field in dataclasses.fields(operator) if field.metadata.get("model")]
    values = [getattr(operator, field.name) for field in fields if field.metadata.get("identity", True)]
    return [value for value in values if value is not None]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:10]}..."
