"""Fine-tunes the backbone of an artifact on one's own labelled images, with a recipe, and tests it.

Of several folds one is trained after the other; a job that was killed goes on in the fold that it
was in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import Card, read_card
from benchmarks.labelled_images import LabelledImages, find_unlabelled, read_labelled
from benchmarks.prepare import PreparedBenchmark
from benchmarks.ready_everywhere import ensure_ready_everywhere
from benchmarks.schema import FineTuneBudget
from classification.budget import TrainingPlan, training_plan
from classification.derived import find_recipe, name_with_only
from classification.finetune_protocol import finetune_budget, finetune_protocol
from classification.recipes import FINE_TUNING
from classification.recipes.user_file import load_user_file
from classification.tricks.fast_auto_augment import search_of
from classification.tricks.found_learning_rate import FoundLearningRate
from classification.tricks.pseudo_labels import PseudoLabels, check_teacher, pseudo_labels_of
from engine.agreement import all_or_none
from engine.evidence import Evidence, leave_evidence
from engine.finetuning import finetuning_arguments
from engine.processes import is_main, tell, wait_for_others
from engine.results import Metric, StageResult
from engine.second_test import PLAIN_SECONDS, VIEWS_SECONDS, with_views
from engine.stage import run_stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from classification.evidence import Answers
    from classification.own_images import Tested
    from classification.pseudo_labels import PseudoImages
    from classification.splits import Fold
    from classification.training import Training
    from classification.tricks.test_time_views import TestTimeViews
    from classification.tuned_fold import TunedFold
    from classification.tuned_scores import Labels, Probabilities

SEARCH_SECONDS = "policy_search_seconds"
_ON_THE_CARD = ("balanced_accuracy", "macro_f1")
CLASSIFIER = "classifier"
"""Of each fold, in its work folder: the artifact of the fine-tuned backbone and its head."""


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What all folds share. test: None where the data has no test images."""

    artifact: Path
    card: Card
    recipe: str
    budget: FineTuneBudget
    train: LabelledImages
    test: LabelledImages | None
    protocol: dict[str, Any]
    name: str
    seed: int
    auto_accumulate: bool
    unlabelled: tuple[Path, ...] = ()

    @property
    def pseudo_labels(self) -> PseudoLabels | None:
        return pseudo_labels_of(find_recipe(self.recipe, FINE_TUNING))

    def unlabelled_of(self, fold: Fold) -> list[Path]:
        """Those that a fold may learn from: none of a group that it is validated or tested on."""
        from classification.pseudo_labels import leaks

        tests = () if self.test is None else self.test.samples
        guarded = [path for path, _ in (*self.train.samples, *tests)]
        assert not leaks(self.unlabelled, guarded), "an unlabelled image is a labelled or test one"
        if self.train.groups is None:
            return list(self.unlabelled)
        every = _with_their_labels(self.budget)
        assert every.groups is not None, "some have one"
        places = zip(every.samples, every.groups, strict=True)
        group_of = {path: group for (path, _), group in places}
        held = {self.train.groups[i] for i in fold.validation}
        held |= set() if self.test is None else set(self.test.groups or ())
        return [path for path in self.unlabelled if group_of.get(path) not in held]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def label(self) -> str:
        return (
            f"fine-tuning, {self.card.architecture} ({self.card.weights}), {self.recipe}, "
            f"seed {self.seed}"
        )

    def plan(self, images: int) -> TrainingPlan:
        recipe = find_recipe(self.recipe, FINE_TUNING)
        return training_plan(recipe, self.budget, images, architecture=self.card.architecture)


def finetune(
    artifact: Path,
    prepared: PreparedBenchmark,
    *,
    recipe: str,
    seed: int,
    work_dir: Path,
    result: Path,
    auto_accumulate: bool = False,
) -> StageResult:
    """Trains all folds, writes `result` and beside it what was seen of the images that count.

    recipe: a name of `FINE_TUNING`. The seed divides the images, draws the head and orders the
    training. Raises ValueError for a recipe, a division or an artifact that cannot be used.
    """
    from classification.splits import make_folds
    from engine.stage import environment

    budget = finetune_budget(prepared.benchmark)
    digest = prepared.digests["finetune"]
    train, test = (read_labelled(budget, split) for split in ("train", "test"))
    assert train is not None, "there are training images"
    task = _Task(
        artifact=artifact,
        card=all_or_none(lambda: read_card(artifact)),
        recipe=recipe,
        budget=budget,
        train=train,
        test=test,
        protocol=finetune_protocol(prepared.benchmark, digest, recipe=recipe),
        name=prepared.benchmark.name,
        seed=seed,
        auto_accumulate=auto_accumulate,
    )
    notes = prepared.notes("finetune")
    if (trick := task.pseudo_labels) is not None:
        check_teacher(trick, task.classes)
        unlabelled = find_unlabelled(budget)
        task = replace(task, unlabelled=unlabelled.paths)
        notes += unlabelled.notes()
    labels = _labels(train)
    folds = make_folds(
        labels,
        train.groups,
        validation=budget.validation,
        folds=budget.folds,
        share=budget.validation_share,
        seed=seed,
        classes=train.classes,
    )
    count = len(folds)
    folders, done = fold_folders(work_dir, count), []
    for place, (fold, folder) in enumerate(zip(folds, folders, strict=True)):
        which = f", fold {place + 1} of {count}" if count > 1 else ""
        done.append(_trained(task, fold, which, folder))
    found = _found(task, done, folds, folders, environment(), notes, result)
    if is_main():
        found.write(result)
    wait_for_others()
    return found


def fold_folders(work_dir: Path, folds: int) -> list[Path]:
    """Where each fold works: of one the folder itself, which its trackers know."""
    return [work_dir] if folds == 1 else [work_dir / f"fold-{i}" for i in range(1, folds + 1)]


def _labels(images: LabelledImages) -> Labels:
    import numpy as np

    return np.array([label for _, label in images.samples], np.int64)


def _trained(
    task: _Task, fold: Fold, which: str, folder: Path, pseudo: PseudoImages | None = None
) -> TunedFold:
    """The fold as it was left behind, or trained now. pseudo: of one of its rounds."""
    from classification.tuned_fold import begin, check_begun, find_fold

    origin = {"artifact": task.card.sha256, "seed": task.seed}
    all_or_none(lambda: check_begun(folder, origin))
    if is_main():
        begin(folder, origin)
    wait_for_others()
    before = find_fold(folder, fold, task.classes, task.protocol)
    if before is not None:
        tell(f"{task.label}{which}: done before")
        _remove_checkpoints(before, folder)
        return before
    if task.pseudo_labels is None or pseudo is not None:
        found = _train(task, fold, which, folder, *([] if pseudo is None else [pseudo]))
    else:
        found = _train_in_rounds(task, task.pseudo_labels, fold, which, folder)
    if is_main():
        found.write(folder, task.classes)
    _remove_checkpoints(found, folder)
    wait_for_others()
    return found


def _remove_checkpoints(fold: TunedFold, folder: Path) -> None:
    """Of a fold that is finished, whose classifier is verified: two for each fold would add up."""
    from engine import checkpoints

    if fold.validation is not None and is_main():
        checkpoints.remove_all(folder)


def _train_in_rounds(
    task: _Task, trick: PseudoLabels, fold: Fold, which: str, folder: Path
) -> TunedFold:
    """Each round in a folder of its own; the last one's classifier is that of the fold."""
    import shutil

    from classification.learning_rate_range import FILE_NAME as RANGE_FILE
    from classification.policy_search.searched_policy import TRIALS_FILE
    from classification.pseudo_rounds import as_one, round_notes, say_of, train_in_rounds
    from engine.cost import stopwatch

    paths = task.unlabelled_of(fold)
    plan = task.plan(len(fold.fit))
    alone = [name for name in plan.recipe.trick_names if name != trick.name]
    first = replace(task, recipe=name_with_only(task.recipe, alone, FINE_TUNING))
    asking: dict[str, float] = {}

    def place(number: int) -> Path:
        return folder / f"round-{number}"

    def train(number: int, images: PseudoImages | None) -> TunedFold:
        own, said = (first, "labelled only") if images is None else (task, f"round {number}")
        if is_main():
            place(number).mkdir(parents=True, exist_ok=True)
            before, now = place(0) / TRIALS_FILE, place(number) / TRIALS_FILE
            if before.is_file() and not now.exists():  # a policy is searched once
                shutil.copy(before, now)
        wait_for_others()
        return _trained(own, fold, f"{which}, {said}", place(number), images)

    def ask(number: int | None) -> Probabilities:
        teacher = Path(trick.teacher) if number is None else place(number) / CLASSIFIER
        tell(f"{task.label}{which}: {len(paths):,} unlabelled images are looked at")
        seconds: dict[str, float] = {}
        with stopwatch(seconds):
            said = say_of(teacher, paths, plan, workers=task.budget.workers)
        asking["seconds"] = asking.get("seconds", 0.0) + seconds["seconds"]
        return said

    done, admitted = train_in_rounds(trick, paths, batch_size=plan.batch_size, train=train, ask=ask)
    if is_main() and done[-1].validation is not None:
        shutil.rmtree(folder / CLASSIFIER, ignore_errors=True)  # of a job that was killed here
        last = place(len(done) - 1)
        shutil.copytree(last / CLASSIFIER, folder / CLASSIFIER)
        if (last / RANGE_FILE).is_file():
            shutil.copy(last / RANGE_FILE, folder / RANGE_FILE)
    cost = _cost(done)
    cost["seconds"] += asking.get("seconds", 0.0)
    return as_one(done, admitted, cost=cost, notes=round_notes(trick, admitted, which))


def _train(
    task: _Task, fold: Fold, which: str, folder: Path, pseudo: PseudoImages | None = None
) -> TunedFold:
    from backbones.cost import count_parameters
    from classification.many_views import views_of
    from classification.training import build_training
    from classification.tuned_fold import TunedFold
    from classification.tuned_scores import all_finite, tuned_scores
    from engine.cost import peak_memory_mb, stopwatch
    from engine.divergence import Diverged

    label = f"{task.label}{which}"
    fit, held = ([task.train.samples[i] for i in part] for part in (fold.fit, fold.validation))
    plan = task.plan(len(fit))
    searched: tuple[str, ...] = ()
    validation = test = views = None
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
        runner = training.runner
        try:
            runner.train()
        except Diverged as error:
            tell(f"{label}: {error}")
        else:
            # Of several processes each asks all images: so all of them know the same.
            workers = min(1, task.budget.workers)
            counting = held if task.test is None else task.test.samples
            with stopwatch(cost, PLAIN_SECONDS):
                said = _probabilities(training, plan, counting, workers)
            if task.test is None:
                validation = said
            else:
                validation, test = _probabilities(training, plan, held, workers), said
            if (trick := views_of(plan.recipe)) is not None:
                with stopwatch(cost, VIEWS_SECONDS):
                    views = _probabilities(training, plan, counting, workers, trick)
            if not all_finite(validation, test, views):
                tell(f"{label}: the trained classifier's probabilities are not all finite")
                validation = test = views = None
    cost["seconds"] += runner.seconds_before
    cost.update(
        peak_memory_mb=peak_memory_mb(),
        iterations=runner.iter,
        model_parameters=count_parameters(training.classifier),
        **runner.step_cost,
    )
    metrics: dict[str, Metric] = {}
    if validation is not None:
        labels = _labels(task.train)[fold.validation]
        metrics = _metrics(tuned_scores(labels, validation), len(labels))
        counted, n = metrics, len(labels)
        if task.test is not None and test is not None:
            n = len(task.test.samples)
            counted = _metrics(tuned_scores(_labels(task.test), test), n)
        if is_main():
            _export(training, task, plan, folder / CLASSIFIER, held, counted, n)
    return TunedFold(
        places=fold.validation,
        validation=validation,
        test=test,
        views=views,
        result=StageResult(
            status="ok" if metrics else "diverged",
            metrics=metrics,
            cost=cost,
            protocol={**task.protocol, "precision": training.precision, **runner.protocol},
            notes=(*searched, *training.notes, *runner.notes),
        ),
    )


def _searched(
    task: _Task, plan: TrainingPlan, fold: Fold, folder: Path, label: str
) -> tuple[TrainingPlan, str, float]:
    """The plan with a policy that was found on the images to fit; a remark, and the seconds."""
    from classification.policy_search.searched_policy import with_found_policy

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


def _probabilities(
    training: Training,
    plan: TrainingPlan,
    samples: Sequence[tuple[Path, int]],
    workers: int,
    trick: TestTimeViews | None = None,
) -> Probabilities:
    """Of each class for each image, (n, K): of its central view, or of those of the trick."""
    from classification.many_views import probabilities

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


def _metrics(scores: dict[str, float | None], n: int) -> dict[str, Metric]:
    return {name: Metric(value=value, n=n) for name, value in scores.items()}


def _export(
    training: Training,
    task: _Task,
    plan: TrainingPlan,
    artifact: Path,
    held: Sequence[tuple[Path, int]],
    metrics: dict[str, Metric],
    n: int,
) -> None:
    """Writes the fine-tuned classifier and proves that it computes what was trained."""
    from backbones.artifact import save_artifact, verify_artifact
    from backbones.cost import count_gmacs, count_parameters
    from classification.training import example_images, exported

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
                "n": n,
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


def _found(
    task: _Task,
    folds: list[TunedFold],
    division: Sequence[Fold],
    folders: Sequence[Path],
    environment: dict[str, str],
    notes: tuple[str, ...],
    result: Path,
) -> StageResult:
    """The result of all folds together."""
    from classification.learning_rate_range import with_ranges
    from classification.tuned_fold import ensemble, out_of_fold
    from classification.tuned_scores import answers_of, top1_by_class, tuned_scores

    ran = _ran(folds)
    told = tuple(dict.fromkeys(note for fold in folds for note in fold.result.notes))
    cost = _cost(folds)
    if all(fold.validation is None for fold in folds):
        return StageResult(
            status="diverged",
            cost=cost,
            protocol=ran,
            environment=environment,
            notes=(*notes, *told),
        )
    places, held = out_of_fold(folds, len(task.train.samples))
    labels = _labels(task.train)[places]
    of_validation = tuned_scores(labels, held)
    validated = {
        "validation_top1": of_validation["tuned_top1"],
        "validation_macro_f1": of_validation["macro_f1"],
    }
    together = ensemble(folds)
    if task.test is not None and together is not None:
        samples: Sequence[tuple[Path, int]] = task.test.samples
        labels, said = _labels(task.test), together
        metrics = _metrics(tuned_scores(labels, said), len(labels))
        metrics |= _metrics(validated, len(places))
    else:
        samples, said = [task.train.samples[i] for i in places], held
        metrics = _metrics(of_validation, len(labels))
    answers = answers_of(labels, said)
    of_views = _said_besides(task, folds, "views")
    if of_views is not None:
        scores = tuned_scores(labels, of_views)
        metrics |= _metrics({"tta_top1": scores["tuned_top1"]}, len(labels))
    of_labelled = _said_besides(task, folds, "labelled_only")
    if of_labelled is not None:
        scores = tuned_scores(labels, of_labelled)
        metrics |= _metrics({"labelled_only_top1": scores["tuned_top1"]}, len(labels))
    seen: str | None = None
    lost: tuple[str, ...] = ()
    if is_main():

        def whole() -> Evidence:
            found = with_ranges(_own_images(task, answers, samples, said, (places, held)), folders)
            if of_labelled is not None:
                alone = answers_of(labels, of_labelled)
                found = _with_pseudo_labels(task, folds, division, found, alone)
            if of_views is None:
                return found
            second = _evidence(task, answers_of(labels, of_views), samples)
            return with_views(found, second, tuple(second.arrays))

        seen, lost = leave_evidence(whole, result)
    by_class = dict(zip(task.classes, top1_by_class(answers, len(task.classes)), strict=True))
    per_class: dict[str, dict[str, float | None]] = {"tuned_top1": by_class}
    if len(folds) > 1:
        per_class["folds"] = {
            f"fold {i}": fold.result.metrics["tuned_top1"].value if fold.result.metrics else None
            for i, fold in enumerate(folds, 1)
        }
    return StageResult(
        status="ok",
        metrics=metrics,
        per_class=per_class,
        cost=cost,
        protocol=ran,
        environment={**environment, "classifier": _places(folds)},
        notes=(*notes, *told, *_remarks(task, folds), *lost),
        evidence_sha256=seen,
    )


def _ran(folds: Sequence[TunedFold]) -> dict[str, Any]:
    """The protocol of the last fold, with the rates that all of several have found."""
    ran, name = folds[-1].result.protocol, FoundLearningRate.name
    if len(folds) == 1 or name not in ran:
        return ran
    return {**ran, name: [fold.result.protocol[name] for fold in folds]}


def _said_besides(task: _Task, folds: list[TunedFold], name: str) -> Probabilities | None:
    """What the folds together say of each image that counts, (n, K), by another answer of theirs:
    "views" or "labelled_only"; None where the recipe asks for none."""
    from classification.tuned_fold import ensemble, out_of_fold

    besides = [getattr(fold, name) for fold in folds]
    if all(said is None for said in besides):
        return None
    each = list(zip(folds, besides, strict=True))
    if task.test is not None:
        return ensemble([replace(fold, test=said) for fold, said in each])
    held = [replace(fold, validation=said) for fold, said in each]
    return out_of_fold(held, len(task.train.samples))[1]


def _with_pseudo_labels(
    task: _Task,
    folds: list[TunedFold],
    division: Sequence[Fold],
    evidence: Evidence,
    labelled_only: Answers,
) -> Evidence:
    """With what was admitted. The classes of training images that do not count as labelled are
    looked at here alone, when all is trained."""
    from classification.pseudo_findings import with_pseudo_labels

    trick = task.pseudo_labels
    assert trick is not None, "the recipe has pseudo-labels"
    return with_pseudo_labels(
        evidence,
        labelled_only,
        folds=[
            (task.unlabelled_of(part), found.rounds)
            for part, found in zip(division, folds, strict=True)
        ],
        truth=dict(_with_their_labels(task.budget).samples),
        folder=task.budget.folder,
        trick=trick,
    )


def _with_their_labels(budget: FineTuneBudget) -> LabelledImages:
    """All training images, those too that do not count as labelled."""
    every = read_labelled(budget.model_copy(update={"labelled_per_class": None}), "train")
    assert every is not None, "there are training images"
    return every


def _own_images(
    task: _Task,
    answers: Answers,
    tested: Sequence[tuple[Path, int]],
    said: Probabilities,
    validated: tuple[npt.NDArray[np.intp], Probabilities],
) -> Evidence:
    """With what may be wrong with the images. said: of the tested ones; validated: places among the
    training images, and what the folds that did not see them say."""
    from classification.own_images import Judged, finetune_evidence

    places, held = validated
    train, judged = task.train.samples, [Judged(samples=tested, probabilities=said)]
    if task.test is not None and tested is task.test.samples:
        others = train
        validation = [train[i] for i in places]
        judged.append(Judged(samples=validation, probabilities=held))
        kind: Tested = "test"
    else:
        known = set(places.tolist())
        others = [sample for i, sample in enumerate(train) if i not in known]
        kind = "validation" if task.budget.validation == "holdout" else "out-of-fold"
    return finetune_evidence(
        answers,
        classes=task.classes,
        tested=tested,
        others=others,
        judged=judged,
        folder=task.budget.folder,
        kind=kind,
        left_out=task.budget.left_out,
    )


def _evidence(task: _Task, answers: Answers, samples: Sequence[tuple[Path, int]]) -> Evidence:
    from classification.evidence import classification_evidence

    return classification_evidence(
        answers,
        classes=task.classes,
        samples=samples,
        task="finetune",
        folder=task.budget.folder,
    )


def _cost(folds: Sequence[TunedFold]) -> dict[str, float]:
    """Of all folds: seconds, iterations and left out steps together, of the rest the most."""
    costs = [fold.result.cost for fold in folds]
    added = {
        "seconds",
        "iterations",
        "overflowed_steps",
        PLAIN_SECONDS,
        VIEWS_SECONDS,
        SEARCH_SECONDS,
    }
    return {
        name: (sum if name in added else max)(cost[name] for cost in costs if name in cost)
        for name in dict.fromkeys(name for cost in costs for name in cost)
    }


def _places(folds: Sequence[TunedFold]) -> str:
    """Where the classifiers lie, seen from the job's own folder."""
    if len(folds) == 1:
        return CLASSIFIER
    kept = [i for i, fold in enumerate(folds, 1) if fold.validation is not None]
    return ", ".join(f"fold-{i}/{CLASSIFIER}" for i in kept)


def _remarks(task: _Task, folds: Sequence[TunedFold]) -> Iterator[str]:
    """What a reader of the numbers should know of the folds."""
    count = len(folds)
    if gone := [str(i) for i, fold in enumerate(folds, 1) if fold.validation is None]:
        yield (
            f"fold{'s' * (len(gone) > 1)} {', '.join(gone)} of {count} diverged: what only "
            "they would have said is missing, and the numbers are of the others"
        )
    if task.test is None:
        best = " that chose when to stop and which weights to keep" * _chooses(task)
        yield (
            "there are no test images: the numbers are of the training images that "
            + (f"each of {count} folds was validated on" if count > 1 else "it was validated on")
            + (f",{best}: they flatter a little" if best else "")
        )
    elif count > 1:
        yield f"tested by the mean of the probabilities of {count - len(gone)} folds"


def _chooses(task: _Task) -> bool:
    """Whether the validation images have a say in the weights."""
    recipe = find_recipe(task.recipe, FINE_TUNING)
    return recipe.early_stopping is not None or recipe.tuning.best_weights


def main(argv: list[str] | None = None) -> None:
    """Raises ValueError for a mistake of the user's."""
    arguments = finetuning_arguments(__doc__, argv, with_recipe=True)
    if arguments.recipes is not None:
        load_user_file(arguments.recipes)
    prepared = ensure_ready_everywhere(arguments.benchmark, warn=False, tolerate=arguments.tolerate)
    # Before the training, so that nothing is lost to a folder that cannot be made.
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    finetune(
        arguments.artifact,
        prepared,
        recipe=arguments.recipe or finetune_budget(prepared.benchmark).recipe,
        seed=arguments.seed,
        work_dir=arguments.work_dir,
        result=arguments.result,
        auto_accumulate=arguments.auto_accumulate,
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
