"""A training that goes on does so in the number format with which it began, and says so where
another would be chosen now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classification import half_format as module
from classification.half_format import HalfFormat, half_format_of
from classification.pretrain import main
from classification.recipes import RECIPES
from classification.tricks import HalfPrecision
from engine.checkpoint_file import read_checkpoint, write_checkpoint
from engine.checkpoints import latest_checkpoint
from engine.results import StageResult
from engine.runner import StepLoop


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """choose("bfloat16"): what a measurement would find from here on."""

    def to(precision: str) -> None:
        monkeypatch.setattr(
            module, "half_format", lambda: HalfFormat(precision=precision, why="measured")
        )

    return to


def begun(work_dir: Path, step: int, precision: str) -> Path:
    work_dir.mkdir(exist_ok=True)
    path = work_dir / f"iter_{step}.safetensors"
    write_checkpoint(path, {"meta": {"choices": {"half_precision": precision}}})
    return path


def test_a_new_training_takes_what_is_found_now(
    choose: Callable[[str], None], tmp_path: Path
) -> None:
    for precision in ("bfloat16", "float32"):
        choose(precision)
        found = half_format_of(tmp_path / "none")
        assert (found.precision, found.remark) == (precision, None)


def test_one_that_goes_on_takes_what_it_began_with(
    choose: Callable[[str], None], tmp_path: Path
) -> None:
    begun(tmp_path, 3, "bfloat16")
    choose("float32")
    found = half_format_of(tmp_path)
    assert found.precision == "bfloat16"
    assert found.remark == (
        "half precision stays bfloat16, with which this training began; now it would be float32 "
        "(measured)"
    )
    choose("bfloat16")
    assert half_format_of(tmp_path).remark is None


def test_a_damaged_checkpoint_does_not_count(choose: Callable[[str], None], tmp_path: Path) -> None:
    choose("float32")
    begun(tmp_path, 3, "bfloat16")
    begun(tmp_path, 6, "float16").write_bytes(b"none")
    assert half_format_of(tmp_path).precision == "bfloat16"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ("bfloat16", "float32"),
        pytest.param("float32", "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_a_pretraining_goes_on_as_it_began(
    first: str,
    later: str,
    choose: Callable[[str], None],
    make_benchmark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    forget_mmengine: Callable[[], None],
) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(RECIPES, "halved", RECIPES["standard"] | HalfPrecision())
    work_dir, result = tmp_path / "work", tmp_path / "result.json"
    words = ["--backbone", "resnet18d_halved", "--benchmark", str(make_benchmark(tmp_path / "toy"))]
    words += ["--artifact", str(tmp_path / "artifact"), "--work-dir", str(work_dir)]
    words += ["--result", str(result)]

    def run(precision: str) -> None:
        forget_mmengine()
        choose(precision)
        main(words)

    def killed(loop: StepLoop, save: Any = StepLoop._save) -> None:
        save(loop)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StepLoop, "_save", killed)
        for precision in (first, later):  # the second checkpoint is of a run that went on
            with pytest.raises(KeyboardInterrupt):
                run(precision)
    newest = latest_checkpoint(work_dir)
    assert newest is not None
    state = read_checkpoint(newest)
    assert state["meta"]["choices"] == {"half_precision": first}
    assert ("loss_scaler" in state["optimizer"]) == (first == "bfloat16")  # what wrote it, really
    capfd.readouterr()
    run(later)
    found = StageResult.read(result)
    assert found.protocol["precision"] == first
    assert any(f"half precision stays {first}" in note for note in found.notes)
    assert f"now it would be {later} (measured)" in capfd.readouterr().err
