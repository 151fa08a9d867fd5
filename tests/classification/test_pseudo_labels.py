"""What is admitted, what is refused, what leaks, and in which order rounds are trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backbones.artifact import save_artifact
from backbones.create import create_backbone
from benchmarks.errors import BenchmarkError
from benchmarks.schema import Benchmark, FineTuneBudget
from classification import pseudo_rounds
from classification.budget import TrainingPlan, training_plan
from classification.finetune_protocol import finetune_protocol
from classification.pseudo_labels import PseudoImages, admit, leaks
from classification.pseudo_rounds import round_notes, train_in_rounds
from classification.recipes import FINE_TUNING
from classification.tricks import PseudoLabels

SAID = np.array(
    [[0.95, 0.05], [0.1, 0.9], [0.5, 0.5], [0.3, 0.7], [0.89, 0.11], [0.2, 0.8]], np.float32
)


def test_a_threshold_admits_what_reaches_it() -> None:
    found = admit(SAID, threshold=0.9)
    assert found.places.tolist() == [0, 1]
    assert found.labels.tolist() == [0, 1]
    assert found.confidence.tolist() == pytest.approx([0.95, 0.9])
    assert np.array_equal(found.targets, SAID[:2])
    assert not len(admit(SAID, threshold=0.96).places)


def test_a_quantile_admits_the_surest_of_each_predicted_class() -> None:
    # Of class 0: 0.95, 0.89, 0.5 (a tie, which the first class takes); of 1: 0.9, 0.8, 0.7.
    assert admit(SAID, quantile=0.5).places.tolist() == [0, 1, 4, 5]
    assert admit(SAID, quantile=0.9).places.tolist() == [0, 1]
    assert admit(SAID, quantile=0.0).places.tolist() == list(range(6))


def test_a_quantile_is_numpys_of_each_class_alone() -> None:
    said = np.random.default_rng(0).dirichlet([0.5] * 4, 200).astype(np.float32)
    found = set(admit(said, quantile=0.7).places.tolist())
    for label in range(4):
        own = [i for i in range(200) if said[i].argmax() == label]
        least = np.quantile([float(said[i].max()) for i in own], 0.7)
        assert found & set(own) == {i for i in own if said[i].max() >= least}


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"threshold": 0.0}, r"threshold must lie in \(0, 1\]"),
        ({"threshold": 1.1}, r"threshold must lie in \(0, 1\]"),
        ({"threshold": 0.9, "quantile": 0.5}, "give one of them"),
        ({"quantile": 1.0}, r"quantile must lie in \[0, 1\)"),
        ({"share": 0.0}, r"share must lie in \(0, 1\)"),
        ({"share": 1.0}, r"share must lie in \(0, 1\)"),
        ({"rounds": 0}, "rounds must be a whole number"),
        ({"labels": "fuzzy"}, "labels must be one of hard, soft"),
        ({"teacher": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_what_is_wrong_is_said(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PseudoLabels(**knobs)


def test_the_share_of_a_batch_is_whole_images_and_never_all_or_none() -> None:
    counts = [PseudoLabels(share=share).of_batch(32) for share in (0.5, 0.25, 0.01, 0.999)]
    assert counts == [16, 8, 1, 31]
    assert PseudoLabels(quantile=0.5).threshold is None
    assert PseudoLabels().threshold == 0.9


def test_an_image_leaks_by_its_path_by_a_link_and_by_its_bytes(tmp_path: Path) -> None:
    for name, content in {"held.png": b"held", "free.png": b"free", "other.png": b"else"}.items():
        (tmp_path / name).write_bytes(content)
    held = tmp_path / "held.png"
    shutil.copy(held, tmp_path / "copy.png")
    (tmp_path / "link.png").symlink_to(held)
    pool = [tmp_path / n for n in ("free.png", "copy.png", "link.png", "held.png", "other.png")]
    assert [path.name for path in leaks(pool, [held])] == ["copy.png", "link.png", "held.png"]


def rounds_of(trick: PseudoLabels, *answers: np.ndarray) -> tuple[Any, Any, list[Any]]:
    calls: list[Any] = []

    def train(number: int, images: PseudoImages | None) -> Any:
        calls.append((number, images))
        return SimpleNamespace(number=number, validation=np.ones(1))

    def ask(number: int | None) -> np.ndarray:
        calls.append(number)
        return answers[len([c for c in calls if not isinstance(c, tuple)]) - 1]

    paths = [Path(f"{i}.png") for i in range(len(SAID))]
    done, admitted = train_in_rounds(trick, paths, batch_size=8, train=train, ask=ask)
    return [each.number for each in done], admitted, calls


def test_each_round_learns_from_the_one_before_and_labelled_images_come_first() -> None:
    done, admitted, calls = rounds_of(PseudoLabels(rounds=2), SAID, SAID[:, ::-1])
    assert done == [0, 1, 2]
    assert calls[0] == (0, None)
    assert calls[1] == 0
    assert calls[3] == 1
    first, second = calls[2][1], calls[4][1]
    assert first.samples == [(Path("0.png"), 0), (Path("1.png"), 1)]
    assert second.samples == [(Path("0.png"), 1), (Path("1.png"), 0)]
    assert (first.targets, first.of_batch) == (None, 4)
    assert [each.admitted.sum() for each in admitted] == [2, 2]


def test_soft_labels_are_what_the_teacher_said() -> None:
    _, _, calls = rounds_of(PseudoLabels(labels="soft"), SAID)
    assert np.array_equal(calls[2][1].targets, SAID[:2])


def test_where_nothing_is_admitted_nothing_more_is_trained_and_it_is_said() -> None:
    trick = PseudoLabels(threshold=0.99, rounds=3)
    done, admitted, calls = rounds_of(trick, SAID)
    assert done == [0]
    assert calls == [(0, None), 0]
    assert round_notes(trick, admitted, "") == [
        "pseudo-labels, round 1: none of 6 unlabelled images admitted (confidence of at least "
        "0.99): the result is that of the labelled-only run"
    ]


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("knobs", [{}, {"quantile": 0.5}, {"labels": "soft"}], ids=str)
def test_a_teacher_that_was_lost_is_refused(knobs: dict[str, Any], wrong: float) -> None:
    lost = SAID.copy()
    lost[[1, 4]] = wrong
    with pytest.raises(ValueError, match=r"^the teacher of round 0 says .* of 2 of 6 unlabelled"):
        rounds_of(PseudoLabels(**knobs), lost)
    with pytest.raises(ValueError, match=r"^the teacher of round 1 says .* of 6 of 6 unlabelled"):
        rounds_of(PseudoLabels(rounds=2, **knobs), SAID, np.full_like(SAID, wrong))


@pytest.mark.parametrize("known", [True, False])
def test_a_teacher_is_asked_at_the_size_that_its_card_names(
    known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student's plan names 96 and 112 pixels; 96 again for a card that names none."""
    backbone = create_backbone("resnet18d", width=0.0625).eval()
    sizes = {"eval_size": 160, "resize_size": 176} if known else {}
    save_artifact(
        tmp_path / "teacher",
        backbone,
        {"weights": "trained", "classes": ("a", "b"), "dataset": {"name": "own", **sizes}},
        head={"weight": torch.zeros(2, backbone.features.channels[-1]), "bias": torch.zeros(2)},
    )
    asked: list[tuple[int, int]] = []

    def probabilities(model: Any, samples: Any, plan: TrainingPlan, *_: Any, **__: Any) -> Any:
        asked.append((plan.eval_size, plan.resize_size))
        return np.full((len(samples), 2), 0.5, np.float32)

    monkeypatch.setattr(pseudo_rounds, "probabilities", probabilities)
    budget = FineTuneBudget(root=tmp_path, image_size=96, resize_size=112)
    plan = training_plan(FINE_TUNING.recipes["plain"], budget, 10, architecture="resnet18d")
    pseudo_rounds.say_of(tmp_path / "teacher", [tmp_path / "1.png"], plan, workers=0)
    assert asked == [(160, 176) if known else (96, 112)]


def test_a_plan_without_unlabelled_images_is_refused(tmp_path: Path) -> None:
    benchmark = Benchmark(name="own", finetune=FineTuneBudget(root=tmp_path))
    with pytest.raises(BenchmarkError, match=r"learns from unlabelled images.*labelled_per_class"):
        finetune_protocol(benchmark, "d", recipe="finetune+pseudo_labels")


def test_what_counts_as_labelled_is_in_the_protocol_only_where_it_is_set(tmp_path: Path) -> None:
    def budget_of(**more: Any) -> Any:
        benchmark = Benchmark(name="own", finetune=FineTuneBudget(root=tmp_path, **more))
        return finetune_protocol(benchmark, "d", recipe="plain")["budget"]

    assert "labelled_per_class" not in budget_of()
    assert budget_of(labelled_per_class=3) == {**budget_of(), "labelled_per_class": 3}
