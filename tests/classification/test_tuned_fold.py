"""Folds of a fine-tuning: what is kept of each, and what they say together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classification.splits import Fold
from classification.tuned_fold import (
    TunedFold,
    begin,
    check_begun,
    ensemble,
    find_fold,
    out_of_fold,
)
from engine.results import Metric, StageResult

PROTOCOL = {"data": "d", "budget": {"image_size": 64}}


def made(places: list[int], said: list[list[float]] | None, test: object = None) -> TunedFold:
    metrics = {} if said is None else {"tuned_top1": Metric(value=50.0, n=len(said))}
    return TunedFold(
        places=np.array(places),
        validation=None if said is None else np.array(said, np.float32),
        test=None if test is None else np.array(test, np.float32),
        result=StageResult(
            status="diverged" if said is None else "ok",
            metrics=metrics,
            protocol={**PROTOCOL, "precision": "float32"},
        ),
    )


def fold_of(places: list[int]) -> Fold:
    return Fold(fit=np.array([], np.intp), validation=np.array(places, np.intp))


def test_out_of_fold_puts_each_answer_at_its_image() -> None:
    folds = [made([2, 0], [[0.1, 0.9], [0.8, 0.2]]), made([1], [[0.5, 0.5]])]
    places, said = out_of_fold(folds, 4)
    assert places.tolist() == [0, 1, 2]  # the last image was in no validation
    assert said == pytest.approx(np.array([[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]))


def test_an_image_that_two_hold_outs_share_is_answered_by_the_first_alone() -> None:
    """Their mean would be an ensemble's answer, better the more hold-outs there are."""
    folds = [made([0], None), made([0], [[0.2, 0.8]]), made([0, 1], [[0.6, 0.4], [1, 0]])]
    assert out_of_fold(folds, 2)[1] == pytest.approx(np.array([[0.2, 0.8], [1, 0]]))


def test_what_a_diverged_fold_would_have_said_is_missing() -> None:
    folds = [made([0], [[0.2, 0.8]], [[1.0, 0.0]]), made([1], None)]
    assert out_of_fold(folds, 2)[0].tolist() == [0]
    assert ensemble(folds) == pytest.approx(np.array([[1.0, 0.0]]))


def test_an_ensemble_is_the_mean_of_its_folds() -> None:
    folds = [made([0], [[1, 0]], [[0.9, 0.1]]), made([1], [[1, 0]], [[0.2, 0.8]])]
    assert ensemble(folds) == pytest.approx(np.array([[0.55, 0.45]]))
    assert ensemble([made([0], [[1, 0]])]) is None


@pytest.mark.parametrize("said", [[[0.25, 0.75], [0.5, 0.5]], None])
def test_a_fold_that_was_written_is_found_again(
    tmp_path: Path, said: list[list[float]] | None
) -> None:
    fold = made([3, 4], said, None if said is None else [[0.5, 0.5]])
    fold.write(tmp_path, ("a", "b"))
    found = find_fold(tmp_path, fold_of([3, 4]), ("a", "b"), PROTOCOL)
    assert found is not None
    assert found.result.status == fold.result.status
    for name in ("validation", "test"):
        before, after = getattr(fold, name), getattr(found, name)
        assert (before is None and after is None) or np.array_equal(before, after)


def test_a_fold_of_another_fine_tuning_is_not_taken(tmp_path: Path) -> None:
    made([3, 4], [[1, 0], [0, 1]]).write(tmp_path, ("a", "b"))
    assert find_fold(tmp_path, fold_of([3, 5]), ("a", "b"), PROTOCOL) is None
    assert find_fold(tmp_path, fold_of([3, 4]), ("a", "c"), PROTOCOL) is None
    assert find_fold(tmp_path, fold_of([3, 4]), ("a", "b"), {**PROTOCOL, "data": "e"}) is None
    (tmp_path / "fold.safetensors").write_bytes(b"half of it")
    assert find_fold(tmp_path, fold_of([3, 4]), ("a", "b"), PROTOCOL) is None
    assert find_fold(tmp_path / "nowhere", fold_of([3, 4]), ("a", "b"), PROTOCOL) is None


def test_a_fold_goes_on_only_from_the_artifact_and_the_seed_that_it_was_begun_with(
    tmp_path: Path,
) -> None:
    origin = {"artifact": "a" * 64, "seed": 0}
    check_begun(tmp_path / "fold-1", origin)  # nothing is there yet
    begin(tmp_path / "fold-1", origin)
    check_begun(tmp_path / "fold-1", dict(origin))
    for other in ({**origin, "seed": 1}, {**origin, "artifact": "b" * 64}):
        with pytest.raises(ValueError, match=r"another artifact, seed, .* another --work-dir"):
            check_begun(tmp_path / "fold-1", other)
