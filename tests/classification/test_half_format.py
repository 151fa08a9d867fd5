"""Which format `half` means is measured once for a machine, and where it pays alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from classification import half_format as module
from classification.half_format import half_format
from engine.half_probe import HalfProbe, probe_half


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[HalfProbe]:
    """A processor with instructions for bfloat16, an empty cache, and a probe that gives the next
    of this list."""
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "supported_half", lambda: "bfloat16")
    results: list[HalfProbe] = []
    monkeypatch.setattr(module, "probe_half", lambda: results.pop(0))
    return results


GOOD = HalfProbe(rate=1.4, error=0.09)
SLOW = HalfProbe(rate=0.8, error=0.09)
WRONG = HalfProbe(rate=2.0, error=0.4)


@pytest.mark.parametrize(
    ("probe", "expected"), [(GOOD, "bfloat16"), (SLOW, "float32"), (WRONG, "float32")]
)
def test_it_is_taken_where_it_is_faster_and_right(
    measured: list[HalfProbe], probe: HalfProbe, expected: str
) -> None:
    measured.append(probe)
    found = half_format()
    assert found.precision == expected
    assert f"{probe.rate:.2f} times float32's rate" in found.why


def test_the_first_measurement_holds_for_all_jobs(measured: list[HalfProbe]) -> None:
    measured += [GOOD, SLOW]
    assert [half_format().precision for _ in range(3)] == ["bfloat16"] * 3
    assert measured == [SLOW], "measured once"


def test_another_torch_is_another_question(
    measured: list[HalfProbe], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured += [GOOD, SLOW]
    assert half_format().precision == "bfloat16"
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert half_format().precision == "float32"


@pytest.mark.parametrize("content", [b"", b"{", b'{"sha256": "x", "value": {}}'])
def test_a_damaged_measurement_is_made_anew(
    measured: list[HalfProbe], tmp_path: Path, content: bytes
) -> None:
    measured += [GOOD, SLOW]
    half_format()
    (kept,) = tmp_path.glob("half_precision/*.json")
    kept.write_bytes(content)
    assert half_format().precision == "float32"
    assert half_format().precision == "float32", "the new one is kept"


def test_a_cache_that_cannot_be_written(
    measured: list[HalfProbe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "file"))
    measured += [GOOD]
    assert half_format().precision == "bfloat16"


@pytest.mark.parametrize(
    ("supported", "reference", "expected"),
    [("float32", "", "float32"), ("float16", "", "float16"), ("bfloat16", "half", "float32")],
)
def test_what_needs_no_measurement(
    measured: list[HalfProbe],
    supported: str,
    reference: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "supported_half", lambda: supported)
    monkeypatch.setenv("TRICKLE_REFERENCE", reference)
    assert half_format().precision == expected  # an empty list has no result to give


def test_the_probe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of rounding to 8 binary digits; global draws and threads stay."""
    threads = torch.get_num_threads()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    found = probe_half()
    assert torch.equal(torch.rand(3), expected)
    assert 0.001 < found.error < 0.15
    assert found.rate > 0
    assert torch.get_num_threads() == threads

    class Nothing:
        """An autocast that does nothing: both ways are the same."""

        def __init__(self, *arguments: Any, **options: Any) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *arguments: Any) -> None: ...

    monkeypatch.setattr(torch, "autocast", Nothing)
    assert probe_half().error == 0
