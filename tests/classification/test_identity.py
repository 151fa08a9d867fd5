"""Two backbones are the same where all that their weights follow from is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backbones import create_backbone, save_artifact
from benchmarks.schema import load_benchmark
from classification.identity import Identity, teacher_of, trained_identity
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import Distillation, Mixup, Pretrained

MINI = load_benchmark("mini")
DATA = {"pretraining": "d1", "detection": "d2", "segmentation": "d3"}


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> object:
    def name(text: str, recipe: Recipe) -> str:
        monkeypatch.setitem(RECIPES, text, recipe)
        return f"resnet18d_{text}"

    return name


def identity(name: str, seed: int = 0) -> Identity:
    return trained_identity(name, MINI, DATA, seed)


def artifact(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    save_artifact(folder, create_backbone("resnet18d", width=0.125), {"weights": "trained"})
    return str(folder)


def test_rows_of_two_tables_that_are_one_training_share_their_weights() -> None:
    assert identity("resnet50a_ladder1024_half_precision") == identity("resnet50a_efficient")
    assert identity("resnet50a_standard").digest != identity("resnet50a_efficient").digest


def test_seeds_share_a_lineage() -> None:
    first, second = identity("resnet50d_mixup"), identity("resnet50d_mixup", seed=1)
    assert first.lineage == second.lineage
    assert first.digest != second.digest


def test_shrunk_training_images_give_other_weights_and_none_leave_the_identity_as_it_was() -> None:
    def protocol(side: int) -> Identity:
        images = MINI.pretraining.model_copy(update={"shrink_to": side})
        shrunk = MINI.model_copy(update={"pretraining": images})
        return trained_identity("resnet50d_mixup", shrunk, DATA, 0)

    assert len({protocol(side).digest for side in (0, 64, 73)}) == 3
    budget = protocol(64).facts["protocol"]["budget"]
    made = {name: value for name, value in budget.items() if name.startswith("shrink")}
    assert made == {"shrink_to": 64, "shrink_format": 1, "shrink_quality": 95}
    # Exactly what there was before images could be shrunk.
    before = {"image_size", "resize_size", "epoch_scale", "batch_size_scale", "learning_rate_scale"}
    assert set(protocol(0).facts["protocol"]["budget"]) == before


@pytest.mark.parametrize(
    ("teacher", "kind"),
    [
        ("resnet152d_smooth", "trained"),
        ("timm:resnet50_smooth", "trained"),
        ("timm:resnet50.a1_in1k", "timm"),
        ("timm:resnet50@weights/mine.pth", "timm"),
        ("./runs/mine", "artifact"),
        ("/data/teachers/resnet152d_smooth", "artifact"),
    ],
)
def test_where_a_teacher_comes_from(named: object, teacher: str, kind: str) -> None:
    found = teacher_of(named("taught", Recipe() | Distillation(teacher)))  # type: ignore[operator]
    assert found is not None
    assert found.kind == kind


def test_a_teacher_that_is_not_there_is_said(named: object, tmp_path: Path) -> None:
    name = named("taught", Recipe() | Distillation(f"{tmp_path}/none"))  # type: ignore[operator]
    with pytest.raises(ValueError, match="no artifact"):
        identity(name)


def test_a_missing_weights_file_of_a_teacher_is_said(named: object) -> None:
    recipe = Recipe() | Distillation("timm:resnet18@/nope.pth")
    with pytest.raises(ValueError, match=r"no weights file at /nope\.pth"):
        identity(named("taught", recipe))  # type: ignore[operator]


def test_teachers_in_a_circle_are_refused(named: object) -> None:
    named("one", Recipe() | Distillation("resnet18d_two"))  # type: ignore[operator]
    name = named("two", Recipe() | Distillation("resnet18d_one"))  # type: ignore[operator]
    with pytest.raises(ValueError, match="circle"):
        identity(name)


@pytest.mark.parametrize("trick", [Distillation, Pretrained])
def test_other_weights_in_the_same_folder_are_another_training(
    named: object, tmp_path: Path, trick: type
) -> None:
    folder = artifact(tmp_path / "a", seed=0)
    name = named("based", Recipe() | trick(folder))  # type: ignore[operator]
    digests = [identity(name).digest]
    for seed in (0, 1):
        artifact(tmp_path / "a", seed=seed)
        digests.append(identity(name).digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_knob_makes_another_training(named: object) -> None:
    names = [named(f"m{i}", Recipe() | Mixup(i / 10)) for i in (1, 2)]  # type: ignore[operator]
    assert identity(names[0]).digest != identity(names[1]).digest
