"""Confident learning against the paper's formula, cleanlab, and labels that were flipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.label_errors import find_label_errors


def made_up(seed: int, n: int = 300, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Labels, a tenth of them wrong, and probabilities of a middling classifier."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=n)
    label = np.where(rng.random(n) < 0.1, rng.integers(classes, size=n), truth)
    logits = 2 * np.eye(classes)[truth] + rng.normal(size=(n, classes))
    p = np.exp(logits)
    return label, p / p.sum(axis=1, keepdims=True)


def test_by_hand() -> None:
    """The thresholds are 0.6 = (0.9 + 0.8 + 0.1) / 3 and 0.5 = (0.7 + 0.6 + 0.2) / 3."""
    p = np.array([0.9, 0.8, 0.1, 0.3, 0.4, 0.8])
    found = find_label_errors([0, 0, 0, 1, 1, 1], np.stack([p, 1 - p], axis=1))
    assert found.place.tolist() == [2, 5]
    assert found.suggested.tolist() == [1, 0]
    assert found.margin == pytest.approx([-0.8, -0.6])


def test_what_is_suggested_gets_more_than_the_label() -> None:
    """Class 2 is likely of the first image (0.25 reaches the mean of its own images), and yet gets
    less than its label; class 1 gets the most."""
    p = np.array([[0.30, 0.45, 0.25], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])
    found = find_label_errors([0, 0, 1, 2], p)
    assert found.place.tolist()[-1] == 0
    assert found.suggested.tolist()[-1] == 1


def of_the_paper(label: np.ndarray, p: np.ndarray) -> list[int]:
    """Equation 1, image by image; those whose label has the largest probability are no errors."""
    classes = p.shape[1]
    mean = {j: p[label == j, j].mean() for j in range(classes) if (label == j).any()}
    found = []
    for at, row in enumerate(p):
        likely = [j for j in mean if row[j] >= mean[j] - 1e-6]
        if likely and max(likely, key=lambda j: row[j]) != label[at]:
            margin = row[label[at]] - max(row[j] for j in range(classes) if j != label[at])
            found += [(margin, at)] if margin < 0 else []
    return [at for _, at in sorted(found)]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6))
def test_it_is_the_formula_of_the_paper(seed: int, classes: int) -> None:
    label, p = made_up(seed, 60, classes)
    assert find_label_errors(label, p).place.tolist() == of_the_paper(label, p)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_cleanlab_finds_the_same(seed: int) -> None:
    """But where several classes are likely and the most probable one is not among them, of which
    cleanlab takes that one and the paper the likely one."""
    filters = pytest.importorskip("cleanlab.filter")
    label, p = made_up(seed)
    means = np.array([p[label == j, j].mean() for j in range(p.shape[1])])
    likely = p >= means - 1e-6
    differs = (likely.sum(axis=1) > 1) & ~likely[np.arange(len(p)), p.argmax(axis=1)]
    theirs = filters.find_label_issues(
        label,
        p,
        filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    ours = find_label_errors(label, p).place
    assert [at for at in ours if not differs[at]] == [at for at in theirs if not differs[at]]
    assert len(ours) > 10


def test_what_does_not_fit_is_refused() -> None:
    label, p = made_up(0)
    for labels, probabilities, said in (
        (label[:-1], p, "expected n whole numbers"),
        (label.astype(float), p, "expected n whole numbers"),
        (label, np.where(p > 0.5, np.nan, p), r"lie in 0\.\.1"),
        (label + 1, p, r"labels lie in 0\.\.4"),
    ):
        with pytest.raises(ValueError, match=said):
            find_label_errors(labels, probabilities)
    assert not len(find_label_errors(np.zeros(0, int), np.zeros((0, 3))).place)


def test_a_class_without_labels_is_never_suggested() -> None:
    label, p = made_up(1)
    found = find_label_errors(np.where(label == 4, 3, label), p)
    assert len(found.place)
    assert 4 not in found.suggested


@pytest.mark.real_data
@pytest.mark.slow
def test_flipped_labels_of_imagenette_are_found(real_data: Path) -> None:
    """5% of 1,500 labels flipped; out-of-fold probabilities of gradients and colors, which are
    right on about half of the images: far more found than by chance, and those ranked first more
    often right."""
    import cv2
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    paths = sorted((real_data / "imagenette").glob("train/*/*.JPEG"))
    paths = [path for at, path in enumerate(paths) if at % 5 < 3]
    names = sorted({path.parent.name for path in paths})
    truth = np.array([names.index(path.parent.name) for path in paths])
    features = []
    for path in paths:
        image = cv2.resize(cv2.imread(str(path)), (64, 64), interpolation=cv2.INTER_AREA)
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        colors = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
        grey = image.mean(axis=2)
        down, across = np.gradient(grey)
        angle = ((np.arctan2(down, across) % np.pi) * (8 / np.pi)).astype(int) % 8
        edges = np.hypot(down, across)[..., None] * np.eye(8)[angle]
        edges = np.sqrt(cv2.resize(edges, (8, 8), interpolation=cv2.INTER_AREA))
        small = cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA)
        parts = (edges / edges.mean(), np.sqrt(colors / 64), small / 255)
        features.append(np.concatenate([part.ravel() for part in parts]))
    rng = np.random.default_rng(0)
    flipped = rng.choice(len(truth), len(truth) // 20, replace=False)
    label = truth.copy()
    label[flipped] = (truth[flipped] + rng.integers(1, len(names), len(flipped))) % len(names)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    p = cross_val_predict(model, np.array(features), label, cv=5, method="predict_proba")
    found = find_label_errors(label, p).place
    hits = np.isin(found, flipped)
    first = hits[: len(flipped)].mean()
    print(
        f"accuracy {np.mean(p.argmax(1) == truth):.3f}, found {len(found)} of {len(truth)}: "
        f"precision {hits.mean():.3f}, recall {hits.sum() / len(flipped):.3f}, "
        f"precision of the first {len(flipped)}: {first:.3f}"
    )
    assert hits.sum() / len(flipped) > 0.6
    assert first > hits.mean() > 2 * 0.05
