"""The dtype and device that this machine computes well with: bfloat16 or float32, CUDA or not.

On a CPU with bfloat16 instructions (AVX-512 BF16 or AMX) a bfloat16 forward pass is about twice as fast as a float32
one; without them it is emulated and many times slower. So "auto" reads the processor's flags. It imports no torch: a
dtype is part of a step's fingerprint, and planning must stay light.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from mnemic.errors import RecipeError

_DRIVER = Path("/proc/driver/nvidia/version")
_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@functools.cache
def has_bfloat16(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether the CPU has bfloat16 instructions; False where its flags cannot be read (no Linux, no x86)."""
    try:
        with Path(cpuinfo).open(encoding="utf-8", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return not _FLAGS.isdisjoint(flags.split())


def resolve_dtype(dtype: str, device: str) -> str:
    """ "bfloat16" or "float32" for a recipe's "auto", "bfloat16" or "float32" on ``device`` ("cpu", "cuda", "cuda:1").

    "auto" is bfloat16 on CUDA and on a CPU with bfloat16 instructions. Raises `RecipeError` for any other name.
    """
    if fault := dtype_fault(dtype):
        raise RecipeError(fault)
    if dtype == "auto":
        return "bfloat16" if device.startswith("cuda") or has_bfloat16() else "float32"
    return dtype


def dtype_fault(dtype: str) -> str:
    """Why a recipe cannot ask for ``dtype``, as a sentence; "" if it can."""
    if dtype in ("auto", "bfloat16", "float32"):
        return ""
    return f"Unknown dtype {dtype!r}; use auto, bfloat16 or float32."


def likely_device() -> str:
    """ "cuda" where an NVIDIA driver runs, else "cpu": `default_device` of a CUDA build, without importing torch."""
    return "cuda" if _DRIVER.exists() else "cpu"


def checked_device(device: str | None) -> str | None:
    """``device`` if this machine has it. Raises `RecipeError` for a name of no device, or a GPU that is not there."""
    if device_name(device) in (None, "cpu"):
        return device
    assert device is not None
    import torch

    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise RecipeError(
            f"torch sees {torch.cuda.device_count()} GPUs here, so {device} cannot be used; use cpu, or install a "
            "CUDA build of torch (`mnemic doctor` tells what is there)."
        )
    return device


def device_name(device: str | None) -> str | None:
    """``device`` if it is the name of a device, on this machine or another. Raises `RecipeError` otherwise."""
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise RecipeError(f"There is no device {device!r}; use cpu, cuda or cuda:1.")
    return device


def default_device() -> str:
    """ "cuda" where torch sees a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
