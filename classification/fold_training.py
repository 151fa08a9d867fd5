"""One training of a fold: what it says of the images that it did not see, and its classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from backbones.artifact import save_artifact, verify_artifact
from backbones.cost import count_gmacs, count_parameters
from classification.budget import TrainingPlan
from classification.finetune_task import FineTuneTask
from classification.frozen_features import labels_of
from classification.many_views import probabilities, views_of
from classification.policy_search.searched_policy import with_found_policy
from classification.pseudo_labels import PseudoImages
from classification.splits import Fold
from classification.training import Training, build_training, example_images, exported
from classification.tricks.fast_auto_augment import search_of
from classification.tricks.test_time_views import TestTimeViews
from classification.tuned_fold import CLASSIFIER, SEARCH_SECONDS, TunedFold
from classification.tuned_scores import Probabilities, all_finite, metrics_of, tuned_scores
from engine.cost import peak_memory_mb, stopwatch
from engine.divergence import Diverged
from engine.processes import is_main, tell
from engine.results import Metric, StageResult
from engine.second_test import PLAIN_SECONDS, VIEWS_SECONDS

Samples = Sequence[tuple[Path, int]]

_ON_THE_CARD = ("balanced_accuracy", "macro_f1")


class _Said(NamedTuple):
    """As of a `TunedFold`; all None of a training that diverged."""

    validation: Probabilities | None = None
    test: Probabilities | None = None
    views: Probabilities | None = None


def train_fold(
    task: FineTuneTask, fold: Fold, which: str, folder: Path, pseudo: PseudoImages | None = None
) -> TunedFold:
    """Trains, asks and exports one classifier, or goes on with it from its checkpoints.

    which: the fold, in words, for what is said to the user. folder: its work folder. pseudo: images
    that a round takes beside the labelled ones. Raises ValueError as `build_training` does.
    """
    label = f"{task.label}{which}"
    fit, held = ([task.train.samples[i] for i in part] for part in (fold.fit, fold.validation))
    plan = task.plan(len(fit))
    searched: tuple[str, ...] = ()
    cost: dict[str, float] = {}
    if search_of(plan.recipe) is not None:
        plan, remark, cost[SEARCH_SECONDS] = _searched(task, plan, fold, folder, label)
        searched = (remark,)
    with stopwatch(cost):
        training = build_training(
            plan,
            label=label,
            architecture=task.card.architecture,
            width=task.card.arguments["width"],
            seed=task.seed,
            train=fit,
            val=held,
            num_classes=len(task.classes),
            workers=task.budget.workers,
            work_dir=folder,
            auto_accumulate=task.auto_accumulate,
            start=task.artifact,
            table="finetune",
            pseudo=pseudo,
        )
        said = _train_and_ask(task, training, plan, held, label=label, cost=cost)
    runner = training.runner
    cost["seconds"] += runner.seconds_before + cost.get(SEARCH_SECONDS, 0.0)
    cost.update(
        peak_memory_mb=peak_memory_mb(),
        iterations=runner.iter,
        model_parameters=count_parameters(training.classifier),
        **runner.step_cost,
    )
    metrics: dict[str, Metric] = {}
    if said.validation is not None:
        metrics = counted = _metrics(held, said.validation)
        if task.test is not None and said.test is not None:
            counted = _metrics(task.test.samples, said.test)
        if is_main():
            _export(training, task, plan, folder / CLASSIFIER, held, counted, which)
    result = StageResult(
        status="ok" if metrics else "diverged",
        metrics=metrics,
        cost=cost,
        protocol={**task.protocol, "precision": training.precision, **runner.protocol},
        notes=(*searched, *training.notes, *runner.notes),
    )
    return TunedFold(places=fold.validation, result=result, **said._asdict())


def _searched(
    task: FineTuneTask, plan: TrainingPlan, fold: Fold, folder: Path, label: str
) -> tuple[TrainingPlan, str, float]:
    """The plan with a policy that was found on the images to fit; a remark, and the seconds."""
    groups = task.train.groups
    return with_found_policy(
        plan,
        start=task.artifact,
        architecture=task.card.architecture,
        width=task.card.arguments["width"],
        samples=[task.train.samples[i] for i in fold.fit],
        groups=None if groups is None else [groups[i] for i in fold.fit],
        num_classes=len(task.classes),
        data=task.protocol["data"],
        seed=task.seed,
        work_dir=folder,
        label=label,
    )


def _train_and_ask(
    task: FineTuneTask,
    training: Training,
    plan: TrainingPlan,
    held: Samples,
    *,
    label: str,
    cost: dict[str, float],
) -> _Said:
    """What the trained classifier says; nothing where the training diverged, or where not all
    that it says is finite. held: its validation images. cost: takes the seconds of its tests."""
    try:
        training.runner.train()
    except Diverged as error:
        tell(f"{label}: {error}")
        return _Said()
    # Of several processes each asks all images: so all of them know the same.
    workers = min(1, task.budget.workers)
    counting = held if task.test is None else task.test.samples
    with stopwatch(cost, PLAIN_SECONDS):
        counted = _probabilities(training, plan, counting, workers)
    if task.test is None:
        validation, test = counted, None
    else:
        validation, test = _probabilities(training, plan, held, workers), counted
    views = None
    if (trick := views_of(plan.recipe)) is not None:
        with stopwatch(cost, VIEWS_SECONDS):
            views = _probabilities(training, plan, counting, workers, trick)
    if not all_finite(validation, test, views):
        tell(f"{label}: the trained classifier's probabilities are not all finite")
        return _Said()
    return _Said(validation, test, views)


def _probabilities(
    training: Training,
    plan: TrainingPlan,
    samples: Samples,
    workers: int,
    trick: TestTimeViews | None = None,
) -> Probabilities:
    """Of each class for each image, (n, K): of its central view, or of those of the trick."""
    model: Any = training.runner.model
    return probabilities(
        getattr(model, "module", model),
        samples,
        plan,
        training.preprocessing,
        trick=trick,
        batch_size=min(256, plan.batch_size * plan.accumulation * 2),
        workers=workers,
    )


def _metrics(samples: Samples, said: Probabilities) -> dict[str, Metric]:
    return metrics_of(tuned_scores(labels_of(samples), said), len(samples))


def _export(
    training: Training,
    task: FineTuneTask,
    plan: TrainingPlan,
    artifact: Path,
    held: Samples,
    metrics: dict[str, Metric],
    which: str,
) -> None:
    """Writes the fine-tuned classifier and proves that it computes what was trained. metrics: of
    the images that count; which: the fold, in words."""
    backbone, head = exported(training.classifier)
    save_artifact(
        artifact,
        backbone,
        {
            "weights": "trained",
            "recipe": {"name": task.recipe, **plan.recipe.to_dict()},
            "preprocessing": training.preprocessing,
            "metrics": {
                "top1": metrics["tuned_top1"].value,
                # Of five classes or fewer nobody is told: the right one is among any five.
                "top5": metrics["tuned_top5"].value if "tuned_top5" in metrics else 100.0,
                "n": metrics["tuned_top1"].n,
            },
            "dataset": {
                "name": task.name,
                "digest": task.protocol["data"],
                "train_size": plan.train_size,
                "eval_size": plan.eval_size,
                "resize_size": plan.resize_size,
            },
            "seed": task.seed,
            "classes": task.classes,
            "cost": {
                "parameters": count_parameters(backbone),
                "gmacs": count_gmacs(backbone, backbone.native_size),
                "gmacs_image_size": backbone.native_size,
            },
            "notes": {
                "fine_tuned_from": task.card.sha256,
                "measured_on": "validation images" if task.test is None else "test images",
                **({"one_of_several": _one_of_several(which)} if task.has_folds else {}),
                **{
                    name: round(value, 2)
                    for name in _ON_THE_CARD
                    if (value := metrics[name].value) is not None
                },
            },
        },
        head=head,
    )
    verify_artifact(artifact, backbone, example_images(held, plan, training.preprocessing))


def _one_of_several(which: str) -> str:
    fold = which.removeprefix(", ")
    return f"{fold}; the accuracy above is its own, that in a table is of all folds together"
