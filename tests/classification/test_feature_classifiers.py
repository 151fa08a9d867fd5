"""Probes of frozen features are what they are said to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from classification.feature_classifiers import Split, knn, linear_probe

HOW = {"regularization": 0.01, "iterations": 500}


def clouds(n: int, *, seed: int, classes: int = 3, spread: float = 1.5) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    centers = np.random.default_rng(99).normal(0, 1, (classes, 5)) * [1, 10, 0.1, 1, 1]
    noise = rng.normal(0, spread, (n, 5)) * [1, 10, 0.1, 1, 1]
    return Split(features=(centers[labels] + noise + 50).astype(np.float32), labels=labels)


def knn_by_hand(train: Split, val: Split, *, neighbors: int, temperature: float) -> float:
    """DINO's rule, image by image."""
    right = 0
    for feature, label in zip(val.features.astype(float), val.labels, strict=True):
        similarity = [
            float(feature @ other) / (np.linalg.norm(feature) * np.linalg.norm(other))
            for other in train.features.astype(float)
        ]
        votes: dict[int, float] = {}
        for place in sorted(range(len(similarity)), key=lambda at: -similarity[at])[:neighbors]:
            vote = math.exp(similarity[place] / temperature)
            votes[int(train.labels[place])] = votes.get(int(train.labels[place]), 0) + vote
        right += max(votes, key=lambda name: votes[name]) == label
    return 100 * right / len(val.labels)


@pytest.mark.parametrize("temperature", [0.07, 0.01])
def test_neighbors_vote_by_the_papers_rule(temperature: float) -> None:
    train, val = clouds(80, seed=1), clouds(60, seed=2)
    train, val = (Split(features=s.features - 50, labels=s.labels) for s in (train, val))
    expected = knn_by_hand(train, val, neighbors=20, temperature=temperature)
    assert 40 < expected < 100
    found = knn(train, val, neighbors=20, temperature=temperature)
    assert found.top1 == pytest.approx(expected)


def test_one_near_neighbor_outvotes_many_far_ones() -> None:
    near, far = [1.0, 0.01], [0.2, 1.0]
    train = Split(features=np.array([near, *[far] * 9], np.float32), labels=np.array([7, *[3] * 9]))
    val = Split(features=np.array([[5.0, 0.0]], np.float32), labels=np.array([7]))
    assert knn(train, val, neighbors=10, temperature=0.07).top1 == 100
    assert knn(train, val, neighbors=10, temperature=1e6).top1 == 0  # nine equal votes against one


def test_few_images_and_dead_features_are_no_error() -> None:
    train = Split(features=np.zeros((2, 4), np.float32), labels=np.array([0, 1]))
    val = Split(features=np.zeros((4, 4), np.float32), labels=np.array([0, 0, 1, 1]))
    assert knn(train, val, neighbors=20, temperature=0.07).top1 == 50
    assert linear_probe(train, val, **HOW).top1 == 50  # type: ignore[arg-type]


def test_the_linear_probe_minimizes_what_it_says() -> None:
    """C times the summed cross entropy plus half the squared norm of the weights, on features of
    mean 0 and deviation 1: by another minimizer."""
    train, val = clouds(60, seed=3), clouds(400, seed=4)
    mean, std = train.features.mean(0, dtype=float), train.features.std(0, dtype=float)
    x, y = (train.features - mean) / std, train.labels

    def loss(flat: np.ndarray) -> float:
        weights, bias = flat[:15].reshape(3, 5), flat[15:]
        logits = x @ weights.T + bias
        peak = logits.max(1, keepdims=True)
        log_sum = np.log(np.exp(logits - peak).sum(1)) + peak[:, 0]
        entropy = float((log_sum - logits[np.arange(len(y)), y]).sum())
        return HOW["regularization"] * entropy + float((weights**2).sum()) / 2

    flat = minimize(loss, np.zeros(18), method="BFGS", options={"gtol": 1e-8}).x
    logits = (val.features - mean) / std @ flat[:15].reshape(3, 5).T + flat[15:]
    expected = 100 * float(np.mean(logits.argmax(1) == val.labels))
    found = linear_probe(train, val, **HOW)  # type: ignore[arg-type]
    assert found.converged
    assert found.top1 == pytest.approx(expected, abs=0.5)  # images on the border


def test_a_fit_that_was_cut_short_says_so() -> None:
    train, val = clouds(200, seed=5), clouds(20, seed=6)
    assert not linear_probe(train, val, regularization=1.0, iterations=1).converged


def test_a_single_class_is_the_answer() -> None:
    train = Split(features=np.ones((3, 2), np.float32), labels=np.array([1, 1, 1]))
    val = Split(features=np.ones((4, 2), np.float32), labels=np.array([1, 1, 1, 0]))
    assert linear_probe(train, val, **HOW).top1 == 75  # type: ignore[arg-type]
