"""What a pretraining leaves of its validation, against a loop of our own over its artifact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from backbones import load_artifact, read_card
from backbones.artifact import load_head
from benchmarks.errors import DataError
from classification.evidence import (
    Answers,
    answers_in,
    classification_evidence,
    confident_mistakes,
    hardest_images,
    picture_of,
)
from classification.pretrain import main
from classification.recipes import RECIPES
from classification.recipes.bag_of_tricks import cosine
from classification.tricks import EMA
from engine.evidence import FILE_NAME, Evidence, read_evidence
from engine.results import StageResult

CLASSES = ("blue", "green", "red")


def made_up(n: int = 200, classes: int = 5, *, seed: int = 0) -> tuple[Answers, np.ndarray]:
    """Answers, and the probabilities (n, classes) that they come from."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), n).astype(np.float32)
    label = rng.integers(classes, size=n)
    order = np.argsort(-probabilities, axis=1)
    answers = Answers(
        label=label.astype(np.int32),
        prediction=order[:, 0].astype(np.int32),
        confidence=probabilities.max(axis=1),
        label_confidence=probabilities[np.arange(n), label],
        label_rank=np.argmax(order == label[:, None], axis=1).astype(np.int32),
    )
    return answers, probabilities


def predicted(artifact: Path, val: Path) -> tuple[list[str], np.ndarray]:
    """Names and softmax (n, 3) of the images below `val`, from the exported files alone."""
    backbone, head, card = load_artifact(artifact).eval(), load_head(artifact), read_card(artifact)
    mean, std = np.array(card.preprocessing.mean), np.array(card.preprocessing.std)
    names, found = [], []
    for file in sorted(val.glob("*/*.jpg")):
        # 40 x 36 pixels, whose shorter side is resize_size already; the central 32.
        crop = cv2.imread(str(file))[2:34, 4:36, ::-1]
        image = torch.from_numpy((crop - mean) / std).float().permute(2, 0, 1)[None]
        with torch.no_grad():
            pooled = backbone(image)[-1].mean(dim=(2, 3))[0]
            logits = (head["weight"] @ pooled + head["bias"]).double().numpy()
        names.append(f"{file.parent.name}/{file.name}")
        found.append(np.exp(logits) / np.exp(logits).sum())
    return names, np.array(found)


@pytest.mark.parametrize("repeat", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_evidence_is_what_the_exported_artifact_says(
    repeat: bool,
    make_benchmark: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_mmengine: Callable[[], None],
) -> None:
    """Of averaged weights, which are not those of the last step; repeat: and again where only the
    last validation is repeated."""
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(RECIPES, "averaged", cosine | EMA(0.9))
    toml = make_benchmark(
        tmp_path / "data", pretraining={"epoch_scale": 0.05, "learning_rate_scale": 0.3}
    )

    def run(name: str) -> tuple[StageResult, Evidence]:
        forget_mmengine()
        place = tmp_path / name
        words = ["--backbone", "resnet18d_averaged", "--benchmark", toml]
        words += ["--artifact", place / "artifact", "--work-dir", place / "work"]
        main([str(word) for word in [*words, "--result", place / "result.json"]])
        result = StageResult.read(place / "result.json")
        return result, read_evidence(place / FILE_NAME, sha256=result.evidence_sha256)

    result, evidence = run("a")
    names, probabilities = predicted(tmp_path / "a/artifact", tmp_path / "data/imagenet/val")
    label = np.repeat(np.arange(3), 3)
    assert evidence.task == "classification"
    assert evidence.classes == CLASSES
    assert list(evidence.images) == names
    arrays = evidence.arrays
    assert arrays["label"].tolist() == label.tolist()
    assert arrays["prediction"].tolist() == probabilities.argmax(axis=1).tolist()
    assert arrays["confidence"] == pytest.approx(probabilities.max(axis=1), rel=1e-3)
    expected = probabilities[np.arange(9), label]
    assert arrays["label_confidence"] == pytest.approx(expected, rel=1e-3)
    ranks = (probabilities > expected[:, None]).sum(axis=1)
    assert arrays["label_rank"].tolist() == ranks.tolist()

    assert result.metrics["top1"].value == pytest.approx(100 * np.mean(ranks == 0))
    nll, ece = result.metrics["nll"], result.metrics["ece"]
    assert nll.value == pytest.approx(log_loss(label, probabilities), rel=1e-3)
    assert (nll.unit, nll.n, nll.higher_is_better) == ("nats", 9, False)
    assert 0 < ece.value <= 100
    assert not ece.higher_is_better

    if not repeat:
        return
    (tmp_path / "again").mkdir()
    shutil.copytree(tmp_path / "a/work", tmp_path / "again/work")
    repeated, same = run("again")
    assert repeated.evidence_sha256 == result.evidence_sha256
    assert same.pictures == evidence.pictures


def test_the_worst_are_those_of_all_probabilities() -> None:
    answers, probabilities = made_up()
    label = answers.label
    hard = sorted(range(200), key=lambda at: probabilities[at, label[at]])[:12]
    assert hardest_images(answers).tolist() == hard
    wrong = [at for at in range(200) if probabilities[at].argmax() != label[at]]
    sure = sorted(wrong, key=lambda at: -probabilities[at].max())[:12]
    assert confident_mistakes(answers).tolist() == sure


def test_pictures_are_small_and_of_the_worst_alone(tmp_path: Path) -> None:
    answers, _ = made_up(60)
    samples = []
    for at, label in enumerate(answers.label.tolist()):
        path = tmp_path / str(label) / f"{at}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((300, 400, 3), (0, 4 * at, 200), np.uint8))
        samples.append((path, label))
    evidence = classification_evidence(answers, classes=tuple("abcde"), samples=samples)
    worst = {*hardest_images(answers).tolist(), *confident_mistakes(answers).tolist()}
    assert {name.removeprefix("mistake/") for name in evidence.pictures} == {*map(str, worst)}
    for place in worst:
        jpeg = picture_of(evidence, place)
        assert jpeg.startswith(b"\xff\xd8")
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (96, 128, 3)
        assert picture.mean(axis=(0, 1)) == pytest.approx([0, 4 * place, 200], abs=3), "BGR"
    assert sum(map(len, evidence.pictures.values())) < 100_000
    other = next(at for at in range(60) if at not in worst)
    assert picture_of(evidence, other) is None


def test_a_small_image_is_not_enlarged_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    answers = Answers(
        label=np.zeros(1, np.int32),
        prediction=np.zeros(1, np.int32),
        confidence=np.ones(1, np.float32),
        label_confidence=np.ones(1, np.float32),
        label_rank=np.zeros(1, np.int32),
    )
    file = tmp_path / "thin.png"
    cv2.imwrite(str(file), np.zeros((1, 40, 3), np.uint8))
    evidence = classification_evidence(answers, classes=("a", "b"), samples=[(file, 0)])
    picture = cv2.imdecode(np.frombuffer(picture_of(evidence, 0), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (1, 40, 3)
    file.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"thin\.png"):
        classification_evidence(answers, classes=("a", "b"), samples=[(file, 0)])


def of(answers: Answers, **changes: Any) -> Evidence:
    arrays = {name: getattr(answers, name) for name in Answers.__dataclass_fields__}
    return Evidence(
        task="classification",
        classes=tuple("abcde"),
        images=tuple(map(str, range(len(answers.label)))),
        arrays={k: v for k, v in {**arrays, **changes}.items() if v is not None},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    answers, _ = made_up()
    of(answers).write(tmp_path / FILE_NAME)
    read = answers_in(read_evidence(tmp_path / FILE_NAME))
    for name in Answers.__dataclass_fields__:
        assert np.array_equal(getattr(read, name), getattr(answers, name))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": None}, "lacks label"),
        ({"prediction": np.zeros(3, np.int32)}, "not one value for each image"),
        ({"prediction": np.zeros((200, 1), np.int32)}, "not one value for each image"),
        ({"prediction": np.full(200, 5, np.int32)}, "outside 0..4"),
        ({"label": np.full(200, -1, np.int32)}, "outside 0..4"),
        ({"label": np.full(200, 0.5, np.float32)}, "holds float32"),
        ({"confidence": np.full(200, np.nan, np.float32)}, "outside 0..1"),
        ({"confidence": np.full(200, 2, np.float32)}, "outside 0..1"),
    ],
)
def test_odd_evidence_is_refused(changes: dict[str, Any], said: str) -> None:
    answers, _ = made_up()
    with pytest.raises(ValueError, match=said):
        answers_in(of(answers, **changes))
