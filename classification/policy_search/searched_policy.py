"""A policy for one's own images, found before a fine-tuning with what it starts from.

The network of a fold is the artifact's backbone as it is under a linear head, which is fitted to
the fold's images without augmentation: Algorithm 1 of Lim et al. 2019 without K trainings from
scratch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backbones.base import Backbone
from backbones.card import read_card
from backbones.preprocessing import Preprocessing
from classification.augmentation import center_view
from classification.budget import TrainingPlan
from classification.data import Normalizer, whole_image
from classification.frozen_features import choose_images, labels_of
from classification.policy_file import read_policy, write_policy
from classification.policy_search.density_matching import Views, matching_loss
from classification.policy_search.search import Found, Judge, search
from classification.policy_search.trial_log import TrialLog
from classification.probe_protocol import ITERATIONS, REGULARIZATION
from classification.splits import Fold, make_folds
from classification.training import build_classifier
from classification.tricks.fast_auto_augment import MOST_IMAGES, FastAutoAugment, search_of
from engine.fast_paths import is_fast
from engine.processes import tell, world_size

POLICY_FILE = "policy.json"
"""In the work folder of the fold."""
TRIALS_FILE = "policy_trials.jsonl"
FOLDS = 5
"""As in the paper."""
_BATCH_SIZE = 64

_Head = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
Samples = Sequence[tuple[Path, int]]


def with_found_policy(
    plan: TrainingPlan,
    *,
    start: Path,
    architecture: str,
    width: float,
    samples: Samples,
    groups: Sequence[str] | None,
    num_classes: int,
    data: str,
    seed: int,
    work_dir: Path,
    label: str,
) -> tuple[TrainingPlan, str, float]:
    """The plan with the policy that was found; a remark for the result; the search's seconds.

    The policy is left as `POLICY_FILE` in the work folder, its trials beside it: with them a second
    call goes on. plan: of a recipe that asks for a search. start: the artifact that the training
    starts from; architecture and width are its own. samples: the training images, no validation
    image; groups: of each, whose images stay together; data: the digest of all images.

    Raises ValueError for several processes, and where no class has two images.
    """
    if world_size() > 1:
        raise ValueError(
            f"fast_auto_augment searches in one process, and there are {world_size()}: search "
            "once with one process, and let the recipe name the file that it leaves"
        )
    trick = search_of(plan.recipe)
    assert trick is not None, "the recipe asks for a search"
    label = f"{label}: policy search"
    chosen, chosen_groups = _chosen(samples, groups, seed=seed)
    labels = labels_of(chosen)
    folds = _folds(labels, chosen_groups, seed=seed)
    about = {
        "weights": read_card(start).sha256,
        "data": data,
        **_about(plan, trick, chosen, len(folds)),
        "seed": seed,
    }

    @cache
    def images() -> _FrozenImages:
        tell(f"{label}: {len(chosen):,} images of {plan.eval_size} pixels in {len(folds)} folds")
        classifier, _ = build_classifier(
            architecture, plan.recipe, width=width, num_classes=num_classes, seed=seed, start=start
        )
        backbone = classifier.backbone
        shown = backbone.preprocessing.represented(plan.recipe.representation)
        return _FrozenImages(backbone, shown, chosen, plan)

    found = search(
        lambda fold: images().judge(folds[fold], labels, num_classes=num_classes, seed=seed),
        TrialLog(work_dir / TRIALS_FILE, about),
        folds=len(folds),
        trials=trick.trials,
        seed=seed,
        label=label,
        tell=tell,
    )
    path = work_dir / POLICY_FILE
    _write(
        found,
        path,
        f"{len(chosen)} images of {plan.eval_size} pixels, {trick.trials} trials in each of "
        f"{len(folds)} folds, seed {seed}",
    )
    tell(f"{label}: the policy lies in {path}")
    remark = found.remark(f"{POLICY_FILE} of its work folder")
    return _with_policy(plan, trick, path), remark, found.seconds


def _about(
    plan: TrainingPlan, trick: FastAutoAugment, chosen: Samples, folds: int
) -> dict[str, Any]:
    """What the trials depend on beside the weights, the data and the seed."""
    names = "\n".join(f"{path.parent.name}/{path.name}" for path, _ in chosen)
    return {
        "images": hashlib.sha256(names.encode(errors="surrogateescape")).hexdigest(),
        "size": [plan.eval_size, plan.resize_size],
        "folds": folds,
        "trials": trick.trials,
        "shown": repr(plan.recipe.representation),
    }


def _write(found: Found, path: Path, on: str) -> None:
    """on: what it was found on."""
    write_policy(
        path,
        found.policy,
        source=f"density matching (Lim et al. 2019, arXiv:1905.00397) on {on}: loss "
        f"{found.plain:.4f} of the images as they are, {found.loss:.4f} under it",
    )
    assert read_policy(path) == found.policy, "a policy is read as it was written"


def _with_policy(plan: TrainingPlan, trick: FastAutoAugment, path: Path) -> TrainingPlan:
    """The plan with the policy of a file in place of the search for one."""
    tricks = [
        replace(trick, policy=str(path)) if present is trick else present
        for present in plan.recipe.tricks
    ]
    return replace(plan, recipe=replace(plan.recipe, tricks=tuple(tricks)))


def _chosen(
    samples: Samples, groups: Sequence[str] | None, *, seed: int
) -> tuple[list[tuple[Path, int]], list[str] | None]:
    """At most `MOST_IMAGES`, or two of each class, of classes with two images or more, and their
    groups."""
    classes = len({label for _, label in samples})
    chosen = choose_images(samples, seed=seed, most=max(MOST_IMAGES, 2 * classes)).samples
    counts = np.bincount(labels_of(chosen))
    chosen = [sample for sample in chosen if counts[sample[1]] > 1]
    if len({label for _, label in chosen}) < 2:
        raise ValueError(
            "a policy is searched with two classes or more of two training images or more each: "
            "add images, or name a published policy"
        )
    if groups is None:
        return chosen, None
    group_of = {path: group for (path, _), group in zip(samples, groups, strict=True)}
    return chosen, [group_of[path] for path, _ in chosen]


def _folds(
    labels: npt.NDArray[np.int64], groups: list[str] | None, *, seed: int
) -> tuple[Fold, ...]:
    """`FOLDS`, or as many as the smallest class has images."""
    dense = np.unique(labels, return_inverse=True)[1]
    count = min(FOLDS, int(np.bincount(dense).min()))
    for together in (groups, None):
        try:
            return make_folds(
                dense, together, validation="kfold", folds=count, share=0.0, seed=seed
            )
        except ValueError:  # groups that cannot be divided so; a search can do without them
            if together is None:
                raise
    raise AssertionError("one of the two returns or raises")


class _FrozenImages:
    """The central views of the images, and what the backbone makes of views."""

    def __init__(
        self, backbone: Backbone, shown: Preprocessing, samples: Samples, plan: TrainingPlan
    ) -> None:
        self.representation = shown.representation
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        fast = is_fast("channels_last")
        layout = torch.channels_last if fast else torch.contiguous_format
        self.backbone = backbone.to(self.device).to(memory_format=layout).eval()
        self.normalizer = Normalizer(shown, channels_last=fast).to(self.device)
        views = (
            center_view(
                whole_image(path, shown.representation),
                size=plan.eval_size,
                resize_size=plan.resize_size,
                interpolation=shown.interpolation,
            )
            for path, _ in samples
        )
        self.views: Views = np.stack(list(views))
        self.plain = self.features(self.views)

    def features(self, views: Views) -> npt.NDArray[np.float32]:
        """(n, H, W, C) RGB, and alpha where it is shown -> (n, D) the last level's average."""
        found = []
        with torch.inference_mode():
            for at in range(0, len(views), _BATCH_SIZE):
                part = views[at : at + _BATCH_SIZE]
                if self.representation is not None:
                    part = np.stack([self.representation(view) for view in part])
                images = torch.from_numpy(part).permute(0, 3, 1, 2)
                batch = {"images": images, "labels": torch.zeros(len(part), dtype=torch.long)}
                levels = self.backbone.classification_features(self.normalizer(batch)["images"])
                found.append(levels[-1].mean((2, 3)).float().cpu())
        features: npt.NDArray[np.float32] = torch.cat(found).numpy()
        return features

    def judge(
        self, fold: Fold, labels: npt.NDArray[np.int64], *, num_classes: int, seed: int
    ) -> Judge:
        """Of the fold's validation images, by a head on its others."""
        head = _head(self.plain[fold.fit], labels[fold.fit], num_classes)
        views, right = self.views[fold.validation], labels[fold.validation]

        def predict(changed: Views) -> npt.NDArray[np.floating]:
            return head(self.features(changed))

        return lambda tried: matching_loss(tried, views, right, predict, seed=seed)


def _head(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], num_classes: int
) -> _Head:
    """Features (n, D) -> probabilities (n, num_classes): the linear probe's logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    logistic = LogisticRegression(C=REGULARIZATION, max_iter=ITERATIONS)
    probe = make_pipeline(StandardScaler(), logistic)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any head will do that knows the fold
        probe.fit(features, labels)

    def predict(others: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        found = np.zeros((len(others), num_classes))
        found[:, logistic.classes_] = probe.predict_proba(others)
        return found

    return predict
