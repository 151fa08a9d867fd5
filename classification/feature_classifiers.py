"""Classifiers that are fitted to frozen features, and how many images they get right."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Split:
    """features: (n, C); labels: (n,)."""

    features: Features
    labels: Labels

    def part(self, chosen: npt.NDArray[np.bool_]) -> Split:
        """The images where `chosen` (n,) is true."""
        return Split(features=self.features[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """top1: in percent of the validation images. converged: whether the fit came to its end."""

    top1: float
    converged: bool = True


def linear_probe(train: Split, val: Split, *, regularization: float, iterations: int) -> Fit:
    """Multinomial logistic regression on features of mean 0 and standard deviation 1 in `train`.

    regularization: C of scikit-learn, the sum of the losses' weight against half the squared L2
    norm of the weights. Where all of `train` is of one class, that class is the answer.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(train.labels)) == 1:
        return Fit(top1=_percent(val.labels == train.labels[0]))
    logistic = LogisticRegression(C=regularization, max_iter=iterations)
    probe = make_pipeline(StandardScaler(), logistic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # said by `converged`
        probe.fit(train.features, train.labels)
    right = probe.predict(val.features) == val.labels
    return Fit(top1=_percent(right), converged=bool(logistic.n_iter_.max() < iterations))


def knn(train: Split, val: Split, *, neighbors: int, temperature: float) -> Fit:
    """The class with most votes among the nearest training images by cosine similarity s, each
    with exp(s / temperature) votes: DINO's rule (Caron et al., arXiv:2104.14294, appendix F.1;
    Wu et al., arXiv:1805.01978, section 3.4)."""
    from sklearn.neighbors import KNeighborsClassifier

    def weights(distances: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        # All e^(1/temperature) times fewer, which elects the same and does not overflow.
        votes: npt.NDArray[np.floating] = np.exp(-distances / temperature)
        return votes

    nearest = KNeighborsClassifier(
        n_neighbors=min(neighbors, len(train.labels)),
        weights=weights,
        metric="cosine",
        algorithm="brute",
    )
    nearest.fit(train.features, train.labels)
    return Fit(top1=_percent(nearest.predict(val.features) == val.labels))


def _percent(right: npt.NDArray[np.bool_]) -> float:
    return 100 * float(np.mean(right))
