"""Fine-tuning on a few images, in this process: what it writes, and that a killed job goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from backbones.artifact import save_artifact
from backbones.card import read_card
from backbones.create import create_backbone
from benchmarks.prepare import PreparedBenchmark
from benchmarks.schema import Benchmark, FineTuneBudget
from classification import finished_fold, fold_training
from classification.evidence import answers_in
from classification.finetune import finetune
from classification.model import load_classifier
from classification.own_images import findings_in
from classification.splits import Fold
from engine.evidence import read_evidence
from engine.results import StageResult

CLASSES = ("dark", "light")


def write_images(folder: Path, count: int, seed: int) -> None:
    """Of two classes that a head alone can tell apart."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            noise = rng.integers(0, 60, (24, 24, 3)) + 190 * label
            Image.fromarray(noise.astype(np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18d", width=0.0625).eval()
    folder = tmp_path_factory.mktemp("artifact") / "backbone"
    save_artifact(folder, backbone, {"weights": "random", "seed": 0})
    return folder


@pytest.fixture
def tune(tmp_path: Path, artifact: Path, forget_mmengine: Callable[[], None]) -> Any:
    """Runs one; gives its result and its folder. tests: whether there are test images."""

    def run(
        recipe: str, *, tests: bool = True, work: str = "work", seed: int = 0, **budget: Any
    ) -> tuple[StageResult, Path]:
        root = tmp_path / ("with_tests" if tests else "alone")
        if not root.exists():
            write_images(root / "train" if tests else root, 6, seed=0)
            if tests:
                write_images(root / "val", 3, seed=1)
        settings = {"image_size": 24, "resize_size": 24, "epoch_scale": 0.1, "workers": 0}
        benchmark = Benchmark(name="own", finetune=FineTuneBudget(root=root, **settings, **budget))
        prepared = PreparedBenchmark(benchmark=benchmark, digests={"finetune": "d"})
        folder = tmp_path / work
        folder.mkdir(exist_ok=True)
        forget_mmengine()
        found = finetune(
            artifact,
            prepared,
            recipe=recipe,
            seed=seed,
            work_dir=folder,
            result=folder / "result.json",
        )
        assert StageResult.read(folder / "result.json") == found
        return found, folder

    return run


def test_a_hold_out_is_trained_tested_and_exported(tune: Any, artifact: Path) -> None:
    found, folder = tune("linear")
    assert found.status == "ok"
    assert {name: metric.n for name, metric in found.metrics.items()} == {
        **dict.fromkeys(("tuned_top1", "balanced_accuracy", "macro_f1", "auc"), 6),
        **dict.fromkeys(("validation_top1", "validation_macro_f1"), 3),  # a fifth of 12
    }
    evidence = read_evidence(folder / "evidence.safetensors", sha256=found.evidence_sha256)
    assert evidence.task == "finetune"
    assert evidence.images == tuple(f"val/{c}/{i}.png" for c in CLASSES for i in range(3))
    right = answers_in(evidence).right.mean()
    assert found.metrics["tuned_top1"].value == pytest.approx(100 * right)
    card = read_card(folder / "classifier")
    assert card.classes == CLASSES
    assert card.notes["fine_tuned_from"] == read_card(artifact).sha256
    assert not list(folder.rglob("iter_*")), "no checkpoint of what is finished"
    # What lies there answers as the result says: asked once more, without any of our loaders.
    classifier = load_classifier(folder / "classifier")
    prep = card.preprocessing
    paths = [folder.parent / "with_tests" / name for name in evidence.images]
    pixels = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    images = torch.from_numpy((pixels - prep.mean) / prep.std).float().permute(0, 3, 1, 2)
    said = classifier(images).softmax(1).max(1).values
    assert said.tolist() == pytest.approx(evidence.arrays["confidence"].tolist(), abs=1e-4)


def test_answers_that_are_no_numbers_are_a_divergence_and_the_folder_stays_that_seeds(
    tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(training: Any, plan: Any, samples: Any, *rest: Any) -> np.ndarray:
        said = np.full((len(samples), 2), 0.5, np.float32)
        said[-1] = np.nan
        return said

    monkeypatch.setattr(fold_training, "_probabilities", lost)
    found, folder = tune("linear")
    assert (found.status, found.metrics) == ("diverged", {})
    assert not (folder / "classifier").exists()
    with pytest.raises(ValueError, match=r"seed 0, .*; asked for: .*, seed 1, .*\): give another"):
        tune("linear", seed=1)
    for other in ({"validation_share": 0.5}, {"learning_rate_scale": 0.5}):
        # Else its checkpoints could have seen what validates now.
        with pytest.raises(ValueError, match=r"another artifact, seed, protocol or division"):
            tune("linear", **other)


def test_checkpoints_are_of_one_division_of_the_images() -> None:
    task: Any = SimpleNamespace(card=SimpleNamespace(sha256="a" * 64), seed=0, protocol={"data": 1})

    def origin(fit: list[int], validation: list[int]) -> dict[str, Any]:
        return finished_fold._origin(task, Fold(fit=np.array(fit), validation=np.array(validation)))

    assert origin([0, 1], [2]) == origin([0, 1], [2])
    assert origin([0, 1], [2]) != origin([0, 2], [1])
    assert origin([0, 1], [2]) != origin([0], [2])


@pytest.mark.slow
def test_without_test_images_every_image_is_answered_by_the_fold_that_did_not_see_it(
    tune: Any,
) -> None:
    found, folder = tune("plain", tests=False, validation="kfold", folds=3)
    assert found.metrics["tuned_top1"].n == 12
    assert list(found.per_class["folds"]) == ["fold 1", "fold 2", "fold 3"]
    assert any("no test images" in note for note in found.notes)
    evidence = read_evidence(folder / "evidence.safetensors")
    assert evidence.images == tuple(f"{c}/{i}.png" for c in CLASSES for i in range(6))
    # Folds of one size: their mean top-1 is that of all images together.
    mean = np.mean([value for value in found.per_class["folds"].values() if value is not None])
    assert found.metrics["tuned_top1"].value == pytest.approx(mean)
    each = [StageResult.read(folder / f"fold-{fold}" / "fold.json") for fold in (1, 2, 3)]
    auc = np.mean([one.metrics["auc"].value for one in each])
    assert found.metrics["auc"].value == pytest.approx(auc)
    for fold in (1, 2, 3):
        readme = (folder / f"fold-{fold}/classifier/README.md").read_text(encoding="utf-8")
        assert f"- one_of_several: fold {fold} of 3; the accuracy above is its own" in readme


@pytest.mark.slow
def test_images_that_several_hold_outs_tested_are_known_to_be_trained_on_as_well(tune: Any) -> None:
    _, folder = tune("linear", tests=False, validation="repeated", folds=2)
    findings = findings_in(read_evidence(folder / "evidence.safetensors"))
    assert findings is not None
    assert findings.tested == "out-of-fold"


@pytest.mark.slow
def test_a_job_that_ends_in_its_second_fold_goes_on_there(
    tune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"validation": "kfold", "folds": 2}
    whole, _ = tune("plain", work="whole", **options)
    train, calls = finished_fold.train_fold, list[str]()

    def dies_in_the_second(task: Any, fold: Any, which: str, folder: Path, *more: Any) -> Any:
        calls.append(which)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(task, fold, which, folder, *more)

    monkeypatch.setattr(finished_fold, "train_fold", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        tune("plain", work="killed", **options)
    resumed, _ = tune("plain", work="killed", **options)
    assert calls == [", fold 1 of 2", ", fold 2 of 2", ", fold 2 of 2"]
    assert resumed.metrics == whole.metrics
    assert resumed.evidence_sha256 == whole.evidence_sha256
    assert resumed.environment["classifier"] == "fold-1/classifier, fold-2/classifier"
    assert not list(tmp_path.rglob("iter_*"))
    assert "tested by the mean of the probabilities of 2 folds" in resumed.notes


@pytest.mark.slow
def test_a_fold_that_diverges_is_said_and_costs_not_the_others(
    tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.divergence import Diverged
    from engine.runner import QuietRunner

    train, calls = QuietRunner.train, list[int]()

    def diverges_first(runner: QuietRunner) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise Diverged("the loss is NaN")
        return train(runner)

    monkeypatch.setattr(QuietRunner, "train", diverges_first)
    found, _ = tune("plain", tests=False, validation="kfold", folds=2)
    assert found.status == "ok"
    assert found.per_class["folds"]["fold 1"] is None
    assert found.metrics["tuned_top1"].n == 6
    assert any(note.startswith("fold 1 of 2 diverged") for note in found.notes)
    calls.clear()
    alone, _ = tune("plain", work="alone")
    assert alone.status == "diverged"
    assert alone.metrics == {}


@pytest.mark.slow
def test_pseudo_labels_come_in_rounds_and_stand_beside_the_labelled_images_alone(
    tune: Any, tmp_path: Path
) -> None:
    """In folds, where a job that was killed goes on; with soft labels; a copy of a test image and
    one of a labelled image among the unlabelled ones stay out."""
    from classification.pseudo_findings import labelled_only_in, pseudo_findings_in
    from classification.recipes import FINE_TUNING
    from classification.tricks import PseudoLabels

    pool = tmp_path / "pool"
    write_images(pool, 10, seed=2)
    write_images(tmp_path / "with_tests" / "train", 6, seed=0)
    write_images(tmp_path / "with_tests" / "val", 3, seed=1)
    shutil.copy(tmp_path / "with_tests/val/dark/0.png", pool / "planted.png")
    shutil.copy(tmp_path / "with_tests/train/dark/0.png", pool / "planted_too.png")
    names = [*FINE_TUNING.recipes]
    FINE_TUNING.recipes["soft"] = FINE_TUNING.recipes["plain"] | PseudoLabels(
        labels="soft", quantile=0.5, rounds=2
    )
    try:
        options = {"unlabelled": pool, "labelled_per_class": 4, "validation": "kfold", "folds": 2}
        found, folder = tune("soft", **options)
        alone, _ = tune("plain", work="alone", **options)
    finally:
        for name in set(FINE_TUNING.recipes) - set(names):
            del FINE_TUNING.recipes[name]
    only, whole = found.metrics["labelled_only_top1"], alone.metrics["tuned_top1"]
    assert (only.value, only.n) == (whole.value, whole.n)
    assert "1 of the unlabelled images are test images: left out" in found.notes
    evidence = read_evidence(folder / "evidence.safetensors", sha256=found.evidence_sha256)
    first = labelled_only_in(evidence)
    assert first is not None
    plain = read_evidence(folder.parent / "alone" / "evidence.safetensors")
    assert np.array_equal(first.arrays["confidence"], plain.arrays["confidence"])
    said = pseudo_findings_in(evidence)
    assert said is not None
    assert [(each.fold, each.round) for each in said.rounds] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert {each.n for each in said.rounds} == {4 + 20}  # of 12 images 8 count as labelled
    assert all(each.admitted.known <= 4 for each in said.rounds)
    assert all((folder / f"fold-{i}/classifier/card.json").is_file() for i in (1, 2))
    assert "unlabelled" in found.protocol
    assert "unlabelled" not in alone.protocol


@pytest.mark.slow
def test_where_nothing_is_admitted_the_result_is_that_of_the_labelled_images_alone(
    tune: Any,
) -> None:
    from classification.recipes import FINE_TUNING
    from classification.tricks import PseudoLabels

    FINE_TUNING.recipes["none"] = FINE_TUNING.recipes["plain"] | PseudoLabels(threshold=1.0)
    try:
        found, folder = tune("none", labelled_per_class=4)
    finally:
        del FINE_TUNING.recipes["none"]
    alone, other = tune("plain", work="alone", labelled_per_class=4)
    assert any("none of 4 unlabelled images admitted" in note for note in found.notes)
    weights = [place / "classifier" / "model.safetensors" for place in (folder, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not (folder / "round-1").exists()
    for name, metric in alone.metrics.items():
        assert found.metrics[name] == metric
    assert found.metrics["labelled_only_top1"] == found.metrics["tuned_top1"]


@pytest.mark.slow
def test_a_training_with_pseudo_labels_goes_on_in_its_round(
    tune: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from classification.recipes import FINE_TUNING
    from classification.tricks import PseudoLabels

    FINE_TUNING.recipes["rounds"] = FINE_TUNING.recipes["plain"] | PseudoLabels(quantile=0.0)
    try:
        whole, _ = tune("rounds", work="whole", labelled_per_class=4)
        train, calls = finished_fold.train_fold, list[str]()

        def dies_in_round_1(task: Any, fold: Any, which: str, folder: Path, *more: Any) -> Any:
            calls.append(which)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return train(task, fold, which, folder, *more)

        monkeypatch.setattr(finished_fold, "train_fold", dies_in_round_1)
        with pytest.raises(KeyboardInterrupt):
            tune("rounds", work="killed", labelled_per_class=4)
        resumed, _ = tune("rounds", work="killed", labelled_per_class=4)
    finally:
        del FINE_TUNING.recipes["rounds"]
    assert calls == [", labelled only", ", round 1", ", round 1"]
    assert resumed.metrics == whole.metrics
    assert resumed.evidence_sha256 == whole.evidence_sha256
