"""Fine-tunes the backbone of an artifact on one's own labelled images, with a recipe, and tests it.

Of several folds one is trained after the other; a job that was killed goes on in the fold that it
was in.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.labelled_images import read_labelled
from benchmarks.prepare import PreparedBenchmark
from benchmarks.ready_everywhere import ensure_ready_everywhere
from benchmarks.unlabelled_images import find_unlabelled
from classification.finetune_protocol import finetune_budget, finetune_protocol
from classification.finetune_task import FineTuneTask
from classification.recipes.user_file import load_user_file
from classification.tricks.pseudo_labels import check_teacher
from engine.agreement import all_or_none
from engine.finetuning import finetuning_arguments
from engine.processes import is_main, wait_for_others
from engine.results import StageResult
from engine.stage import environment, run_stage


def finetune(
    artifact: Path,
    prepared: PreparedBenchmark,
    *,
    recipe: str,
    seed: int,
    work_dir: Path,
    result: Path,
    auto_accumulate: bool = False,
    row: str | None = None,
) -> StageResult:
    """Trains all folds, writes `result` and beside it what was seen of the images that count.

    recipe: a name of `FINE_TUNING`. The seed divides the images, draws the hidden layers of the
    head and orders the training. row: how its progress names it. Raises ValueError for a recipe, a
    division or an artifact that cannot be used.
    """
    from classification.finished_fold import finished_fold
    from classification.frozen_features import labels_of
    from classification.splits import make_folds
    from classification.tuned_result import tuned_result

    task, notes = _task(
        artifact, prepared, recipe=recipe, seed=seed, auto_accumulate=auto_accumulate, row=row
    )
    budget, train = task.budget, task.train
    folds = make_folds(
        labels_of(train.samples),
        train.groups,
        validation=budget.validation,
        folds=budget.folds,
        share=budget.validation_share,
        seed=seed,
        classes=train.classes,
    )
    count = len(folds)
    folders, done = _folders(work_dir, count), []
    for place, (fold, folder) in enumerate(zip(folds, folders, strict=True)):
        which = f", fold {place + 1} of {count}" if count > 1 else ""
        done.append(finished_fold(task, fold, which, folder))
    found = tuned_result(task, done, folds, folders, environment(), notes, result)
    if is_main():
        found.write(result)
    wait_for_others()
    return found


def _task(
    artifact: Path,
    prepared: PreparedBenchmark,
    *,
    recipe: str,
    seed: int,
    auto_accumulate: bool,
    row: str | None,
) -> tuple[FineTuneTask, tuple[str, ...]]:
    """With its images, and what a reader of the result should know of these."""
    budget = finetune_budget(prepared.benchmark)
    digest = prepared.digests["finetune"]
    train, test = (read_labelled(budget, split) for split in ("train", "test"))
    assert train is not None, "there are training images"
    task = FineTuneTask(
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
        row=row,
    )
    notes = prepared.notes("finetune")
    if (trick := task.pseudo_labels) is None:
        return task, notes
    check_teacher(trick, task.classes)
    unlabelled = find_unlabelled(budget)
    return replace(task, unlabelled=unlabelled.paths), (*notes, *unlabelled.notes())


def _folders(work_dir: Path, folds: int) -> list[Path]:
    """Where each fold works: of one the folder itself, which its trackers know."""
    return [work_dir] if folds == 1 else [work_dir / f"fold-{i}" for i in range(1, folds + 1)]


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
        row=arguments.row,
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
