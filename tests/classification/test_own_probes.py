"""Probes on one's own training images: out of fold, as scikit-learn counts them; groups whole."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classification.feature_classifiers import Split
from classification.own_probes import probe_folds


def images(*, signal: float) -> Split:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    features = rng.normal(size=(60, 8)) + signal * np.eye(8)[labels]
    return Split(features=features.astype(np.float32), labels=labels)


def test_the_linear_probe_counts_every_image_once_out_of_fold() -> None:
    data = images(signal=1.0)
    found, folds = probe_folds(data, None, "abc", seed=7)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    splits = StratifiedKFold(5, shuffle=True, random_state=7)
    said = cross_val_predict(probe, data.features, data.labels, cv=splits)
    assert folds == 5
    assert found["linear_probe"] == pytest.approx(100 * np.mean(said == data.labels))
    assert 40 < found["knn"] < 100


def test_a_copy_of_an_image_in_its_group_teaches_nothing() -> None:
    """Features are noise, each image there twice: only who learns from the copy can be right."""
    half = images(signal=0.0)
    data = Split(
        features=np.concatenate([half.features] * 2), labels=np.concatenate([half.labels] * 2)
    )
    groups = [f"photo {index}" for index in range(60)] * 2
    leaking, _ = probe_folds(data, None, "abc", seed=0)
    whole, _ = probe_folds(data, groups, "abc", seed=0)
    assert leaking["knn"] > 60
    assert whole["knn"] < 55


def test_classes_of_few_images_get_fewer_folds_and_one_image_is_refused() -> None:
    data = images(signal=5.0)
    few = data.part(np.r_[np.ones(40, bool), np.ones(3, bool), np.zeros(17, bool)])
    assert probe_folds(few, None, "abc", seed=0)[1] == 3
    one = data.part(np.r_[np.ones(41, bool), np.zeros(19, bool)])
    with pytest.raises(ValueError, match="class c has 1 image"):
        probe_folds(one, None, "abc", seed=0)
