"""What the machine computes well."""

from pathlib import Path

import pytest

from mnemic import hardware
from mnemic.errors import RecipeError


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags\t\t: fpu avx512_bf16 sse", True), ("flags : amx_bf16", True), ("flags : avx512f avx512_bf16x", False)],
)
def test_bfloat16_is_read_from_the_processor_flags(flags: str, expected: bool, tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor : 0\nmodel name : avx512_bf16\n{flags}\n")
    assert hardware.has_bfloat16(str(file)) is expected
    assert hardware.has_bfloat16(str(tmp_path / "absent")) is False


def test_auto_follows_device_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: False)
    assert hardware.resolve_dtype("auto", "cpu") == "float32"
    assert hardware.resolve_dtype("auto", "cuda:1") == "bfloat16"
    assert hardware.resolve_dtype("bfloat16", "cpu") == "bfloat16"
    monkeypatch.setattr(hardware, "has_bfloat16", lambda: True)
    assert hardware.resolve_dtype("auto", "cpu") == "bfloat16"
    assert hardware.resolve_dtype("float32", "cuda") == "float32"
    with pytest.raises(RecipeError, match="use auto, bfloat16 or float32"):
        hardware.resolve_dtype("float64", "cpu")


def test_default_device_is_one_that_torch_has() -> None:
    import torch

    assert hardware.default_device() == ("cuda" if torch.cuda.is_available() else "cpu")
