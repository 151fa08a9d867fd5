"""What an architecture cannot do is said before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backbones.catalog import UnknownNameError
from benchmarks.schema import load_benchmark
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import Distillation, GradientAccumulation
from eval.cli import main
from eval.specs import parse_specs
from eval.usability import check_specs

MINI = load_benchmark("mini")
BOTH = ("detection", "segmentation")


@pytest.mark.parametrize(
    "name",
    [
        "resnet50d_mixup",
        "inception_v3_smooth",
        "mobilenet_smooth",
        "timm:resnet10t_usi",
        "scratch:timm:vit_tiny_patch16_224",
    ],
)
def test_these_can_do_it_all(name: str) -> None:
    check_specs(parse_specs([name]), MINI, BOTH)


@pytest.mark.parametrize(
    ("name", "tasks", "reason"),
    [
        ("timm:edgenext_xx_small_usi", BOTH, "no dilated form"),
        ("timm:mixer_s32_224_smooth", ("detection",), "224 x 224 pixels only"),
        ("timm:mixer_s32_224", ("probes",), "224 x 224 pixels only"),
        ("inception_v3_rsb_a3", (), "75 x 75"),  # 160 / 224 of 85 pixels are 61
    ],
)
def test_these_cannot_and_why(name: str, tasks: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_specs(parse_specs([name]), MINI, tasks)


@pytest.mark.parametrize("kind", ["scratch", "artifact"])
def test_inception_is_not_measured_on_images_too_small_for_it(kind: str) -> None:
    """48 pixels are 64 for Inception-V3, whose own size is 299 and not 224."""
    small = MINI.pretraining.model_copy(update={"image_size": 48, "resize_size": 54})
    benchmark = MINI.model_copy(update={"pretraining": small})
    (spec,) = parse_specs(["scratch:inception_v3"])
    asked = {"scratch": "probes", "artifact": "robustness"}[kind]
    check_specs([spec], benchmark, BOTH)
    with pytest.raises(ValueError, match=r"inception_v3 .*64 x 64 .*75 x 75"):
        check_specs([replace(spec, kind=kind)], benchmark, (*BOTH, asked))  # type: ignore[arg-type]


def test_a_teacher_that_timm_does_not_have_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "taught", Recipe() | Distillation("timm:resnet5o.a1_in1k"))
    with pytest.raises(UnknownNameError, match="resnet50"):
        check_specs(parse_specs(["resnet18d_taught"]), MINI, BOTH)


def test_what_a_teacher_cannot_is_said_before_it_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "taught", Recipe() | Distillation("inception_v3_rsb_a3"))
    with pytest.raises(ValueError, match="75 x 75"):
        check_specs(parse_specs(["resnet18d_taught"]), MINI, BOTH)


def test_a_teachers_weights_that_cannot_work_are_said_by_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import timm

    def dry_run(file: str) -> tuple[int, str]:
        teacher = Distillation(f"timm:test_resnet@{tmp_path}/{file}")
        monkeypatch.setitem(RECIPES, "taught", Recipe() | teacher)
        out = ["--out", str(tmp_path / "out"), "--tasks", "segmentation"]
        code = main(["run", "--dry-run", "--backbone", "resnet18d_taught", *out])
        return code, capsys.readouterr().err

    (tmp_path / "text.pth").write_text("hello")
    whole = timm.create_model("test_resnet").state_dict()
    headless = {name: tensor for name, tensor in whole.items() if not name.startswith("fc.")}
    torch.save(whole, tmp_path / "whole.pth")
    torch.save(headless, tmp_path / "headless.pth")
    for file, said in {
        "none.pth": f"no weights file at {tmp_path}/none.pth",
        "text.pth": "is no torch file (5 bytes)",
        "headless.pth": "Missing keys (2): fc.weight, fc.bias",
    }.items():
        code, err = dry_run(file)
        assert code == 2
        assert "the teacher timm:test_resnet: " in err
        assert said in err
    assert not (tmp_path / "out").exists()
    assert dry_run("whole.pth") == (0, "")


def test_what_a_plan_refuses_is_said_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "parts", Recipe() | GradientAccumulation(10))
    with pytest.raises(ValueError, match="accumulate fewer"):
        check_specs(parse_specs(["resnet18d_parts"]), MINI, BOTH)


def test_what_cannot_be_segmented_can_still_be_detected() -> None:
    check_specs(parse_specs(["timm:edgenext_xx_small_usi"]), MINI, ("detection",))


def test_a_model_that_timm_does_not_have_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="resnet50"):
        check_specs(parse_specs(["timm:resnet5o_usi"]), MINI, BOTH)


def test_the_command_says_it_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--backbone", "timm:edgenext_xx_small_usi"]) == 2
    err = capsys.readouterr().err
    assert "no dilated form" in err
    assert "--tasks" in err


def test_weights_that_cannot_work_are_said_by_a_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"conv.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    cases = {
        f"timm:test_resnet@{tmp_path}/text.pth": "is no torch file (5 bytes)",
        f"torchvision:resnet18@{tmp_path}/other.pth": "Missing keys",
        f"resnet18d@{tmp_path}/other.pth": "Missing keys",
        "torchvision:resnet50@NOPE_V9": "IMAGENET1K_V2",
    }
    for name, said in cases.items():
        arguments = ["run", "--dry-run", "--backbone", name, "--out", str(tmp_path / "out")]
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
