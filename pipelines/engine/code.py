"""The code that workers must have exactly as the driver has it, and how a checkout of it reaches them.

That is our own packages and those of others that joined by entry points: an operator, a source or a kind of memory of
another version would make other rows. Nothing heavy is imported here (`pipelines.engine.worker`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from mnemic.plugins import entries

OWN = ("mnemic", "operators", "pipelines")
JOINED = ("mnemic.operators", "mnemic.sources", "mnemic.memories")
"""Entry-point groups whose code runs on workers."""


@functools.cache
def shared_packages() -> tuple[str, ...]:
    """Our packages, and the packages or modules at the top of what joined them here, by name."""
    joined = {point.module.partition(".")[0] for group in JOINED for point in entries(group)}
    return (*OWN, *sorted(joined - {*OWN}))


@functools.cache
def code_digest(packages: tuple[str, ...]) -> str:
    """Digest of the source of ``packages`` as this process would import them; one that is not there counts too."""
    digest = hashlib.sha256()
    for name in packages:
        for root in places(name):
            files = [root] if root.is_file() else sorted(root.rglob("*.py"))
            for file in files:
                digest.update(f"{name}/{'' if root.is_file() else file.relative_to(root)}\0".encode())
                digest.update(file.read_bytes())
        digest.update(f"{name}\0".encode())
    return digest.hexdigest()[:16]


def shipped_code(packages: tuple[str, ...]) -> dict[str, Any] | None:
    """Checkouts are shipped to the workers of a cluster; what is installed is expected in their image."""
    checkouts = [str(root) for name in packages for root in places(name) if "site-packages" not in root.parts]
    return {"py_modules": checkouts} if checkouts else None


def places(package: str) -> list[Path]:
    """The folders of a package, or the file of a module; none where it cannot be imported."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
