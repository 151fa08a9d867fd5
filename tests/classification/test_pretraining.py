"""`classification/pretrain.py` from images on disk to an artifact and a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from backbones import load_artifact, read_card
from backbones.artifact import load_backbone_state, load_head
from benchmarks.schema import load_benchmark
from classification.pretrain import main
from classification.recipes import RECIPES
from classification.recipes.bag_of_tricks import smooth
from classification.tricks import Distillation
from engine.evidence import FILE_NAME
from engine.results import StageResult

LONGER = {"epoch_scale": 0.1, "learning_rate_scale": 0.3}


def command(**options: object) -> None:
    """classification/pretrain.py --backbone ... in this process."""
    main([word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", str(v))])


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory, make_benchmark: Any) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("squares"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def pretrain(
    benchmark: Path, tmp_path: Path, forget_mmengine: Callable[[], None]
) -> Callable[..., tuple[Path, StageResult]]:
    """One job: pretrain(name, "resnet18d_mixup", seed=0) -> its artifact and its result."""

    def run(name: str, backbone: str, *, seed: int = 0, toml: Path = benchmark) -> Any:
        forget_mmengine()
        artifact, result = tmp_path / name / "artifact", tmp_path / name / "result.json"
        work_dir = tmp_path / name / "work"
        command(
            backbone=backbone, benchmark=toml, seed=seed, artifact=artifact, work_dir=work_dir,
            result=result,
        )  # fmt: skip
        return artifact, StageResult.read(result)

    return run


def test_a_result_is_there_before_the_artifact_that_ends_a_pretraining(
    pretrain: Callable[..., tuple[Path, StageResult]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even without what it saw, where that cannot be written."""
    (tmp_path / "a" / FILE_NAME).mkdir(parents=True)  # which no file replaces

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backbones.artifact.save_artifact", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain("a", "resnet18d_standard")
    found = StageResult.read(tmp_path / "a" / "result.json")
    assert {"top1", "ece", "nll"} <= found.metrics.keys()
    assert found.evidence_sha256 is None
    assert "what it saw was not kept: Is a directory" in found.notes


def without_cost(result: StageResult) -> dict[str, Any]:
    return result.model_dump(exclude={"cost", "environment"})


def weights(artifact: Path) -> dict[str, torch.Tensor]:
    return {**load_backbone_state(artifact), **load_head(artifact)}


def test_from_images_to_an_artifact(pretrain: Any, capfd: pytest.CaptureFixture[str]) -> None:
    artifact, result = pretrain("a", "resnet18d_mixup")
    out, err = capfd.readouterr()
    assert out == ""
    assert all(line.startswith("  pretraining, resnet18d_mixup") for line in err.splitlines())

    assert result.status == "ok"
    assert result.metrics["top1"].n == 9
    assert result.metrics["top5"].value == 100
    per_class = result.per_class["top1"]
    assert list(per_class) == ["blue", "green", "red"]
    assert sum(per_class.values()) / 3 == pytest.approx(result.metrics["top1"].value)
    assert result.cost["iterations"] == 6  # 200 epochs * 0.01 of 24 images in batches of 8
    assert result.protocol["recipe"]["tricks"]["mixup"] == {"alpha": 0.2}

    card = read_card(artifact)
    assert (card.architecture, card.weights, card.seed) == ("resnet18d", "trained", 0)
    assert card.arguments == {"width": 0.125}
    assert card.recipe["tricks"]["label_smoothing"] == {"epsilon": 0.1}
    assert card.metrics["top1"] == result.metrics["top1"].value
    assert load_head(artifact)["weight"].shape == (3, 64)
    assert card.classes == ("blue", "green", "red"), "the folders, in the classifier's order"


def test_trained_on_shrunk_copies(
    pretrain: Any, make_benchmark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    toml = make_benchmark(tmp_path / "shrunk", pretraining={"shrink_to": 32})
    artifact, result = pretrain("a", "resnet18d_mixup", toml=toml)
    assert "shrinking the training images to 32 pixels: 24/24 images" in capfd.readouterr().err
    _, again = pretrain("b", "resnet18d_mixup", toml=toml)
    assert "shrinking" not in capfd.readouterr().err
    assert without_cost(again) == without_cost(result)
    assert result.protocol["budget"]["shrink_to"] == 32
    dataset = read_card(artifact).dataset
    assert dataset["shrink_to"] == 32
    budget = load_benchmark(str(toml)).pretraining
    assert (dataset["eval_size"], dataset["resize_size"]) == (budget.image_size, budget.resize_size)
    assert "shorter side of 32 pixels" in (artifact / "README.md").read_text()

    plain, unshrunk = pretrain("c", "resnet18d_mixup")
    assert "shrink_to" not in unshrunk.protocol["budget"]
    assert "shrink_to" not in read_card(plain).dataset
    assert not torch.equal(weights(artifact)["weight"], weights(plain)["weight"])


def test_the_artifact_reaches_the_accuracy_that_is_reported(
    pretrain: Any, make_benchmark: Any, tmp_path: Path
) -> None:
    toml = make_benchmark(tmp_path / "longer", pretraining=LONGER)
    artifact, result = pretrain("a", "resnet18d_cosine", toml=toml)
    assert result.cost["iterations"] == 36
    assert result.metrics["top1"].value > 60, "a third is chance"

    backbone, head, prep = load_artifact(artifact), load_head(artifact), read_card(artifact)
    mean, std = np.array(prep.preprocessing.mean), np.array(prep.preprocessing.std)
    correct = []
    for label, folder in enumerate(sorted((tmp_path / "longer/imagenet/val").iterdir())):
        for file in sorted(folder.iterdir()):
            # 40 x 36 pixels, whose shorter side is resize_size already; the central 32.
            crop = cv2.imread(str(file))[2:34, 4:36, ::-1]
            image = torch.from_numpy((crop - mean) / std).float().permute(2, 0, 1)[None]
            logits = head["weight"] @ backbone(image)[-1].mean(dim=(2, 3))[0] + head["bias"]
            correct.append(int(logits.argmax()) == label)
    assert 100 * np.mean(correct) == pytest.approx(result.metrics["top1"].value)


def test_a_seed_decides_everything(pretrain: Any) -> None:
    first, again, other = (
        pretrain(name, "resnet18d_mixup", seed=seed)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert without_cost(first[1]) == without_cost(again[1])
    first, again, other = (weights(artifact) for artifact, _ in (first, again, other))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["weight"], other["weight"])


def test_a_lost_run_says_so_and_exports_nothing(
    pretrain: Any, make_benchmark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    toml = make_benchmark(tmp_path / "wild", pretraining={"learning_rate_scale": 1e30})
    artifact, result = pretrain("a", "resnet18d_standard", toml=toml)
    assert result.status == "diverged"
    assert result.metrics == {}
    assert not artifact.exists()
    assert "the loss is nan at step" in capfd.readouterr().err
    with pytest.raises(ValueError, match="diverged"):
        command(backbone="resnet18d_standard", benchmark=toml, out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("artifacts/*"))


def test_the_teacher_is_trained_first_and_once(
    benchmark: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    forget_mmengine: Callable[[], None],
) -> None:
    distill = smooth | Distillation(teacher="resnet18d_smooth", temperature=4)
    monkeypatch.setitem(RECIPES, "distill", distill)

    def run(seed: int) -> list[str]:
        forget_mmengine()
        command(backbone="resnet18d_distill", benchmark=benchmark, seed=seed, out=tmp_path)
        return [line.partition(": top1")[0] for line in capsys.readouterr().out.splitlines()]

    teacher, student, place = run(seed=1)
    assert teacher == "resnet18d_smooth, seed 0"
    assert student == "resnet18d_distill, seed 1"
    assert Path(place.removeprefix("artifact: ")).parent == tmp_path / "artifacts"
    teacher_file = next(tmp_path.glob("artifacts/resnet18d_smooth-s0-*/model.safetensors"))
    written = teacher_file.stat().st_mtime_ns

    assert run(seed=2)[:-1] == ["resnet18d_distill, seed 2"]
    assert run(seed=2)[:-1] == [], "what is there is not trained again"
    assert teacher_file.stat().st_mtime_ns == written
    assert len(list(tmp_path.glob("artifacts/*"))) == 3


def test_paths_of_a_job_go_together(benchmark: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as error:
        command(backbone="resnet18d_mixup", benchmark=benchmark, artifact=tmp_path / "a")
    assert error.value.code == 2
