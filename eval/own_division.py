"""How a fine-tuning divides one's own images: said, or refused, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.errors import DataError
from benchmarks.schema import Benchmark
from classification.finetune_protocol import finetune_budget
from eval.plan import Plan


def planned_division(plan: Plan, benchmark: Benchmark) -> str | None:
    """As `division_in_words`, of the seeds that are to do; None where nothing is fine-tuned."""
    seeds = {job.seed for job in plan.todo if job.kind == "finetune"}
    return division_in_words(benchmark, seeds) if seeds else None


def division_in_words(benchmark: Benchmark, seeds: Iterable[int]) -> str:
    """How many images are trained on, validated on and tested, in one line.

    benchmark: with its data in place; seeds: at least one. Raises DataError where the images
    cannot be divided as [finetune] says, with any of the seeds.
    """
    from benchmarks.labelled_images import read_labelled  # late: it loads numpy
    from classification.splits import make_folds  # and this scikit-learn

    budget = finetune_budget(benchmark)
    train, test = (read_labelled(budget, split) for split in ("train", "test"))
    assert train is not None, "without training images it raises"
    sizes: set[tuple[int, int]] = set()
    try:
        for seed in sorted(seeds):
            folds = make_folds(
                [label for _, label in train.samples],
                train.groups,
                validation=budget.validation,
                folds=budget.folds,
                share=budget.validation_share,
                seed=seed,
                classes=train.classes,
            )
            sizes |= {(len(fold.fit), len(fold.validation)) for fold in folds}
    except ValueError as error:
        raise DataError(f"finetune data of benchmark {benchmark.name}: {error}") from error
    groups = set(train.groups or ())
    how = f"{len(groups)} group{'s' * (len(groups) != 1)} kept whole" if groups else "stratified"
    if budget.validation == "kfold":
        learnt = f"{_images(len(train.samples))} in {budget.folds} folds ({how})"
    else:
        fit, held = max(sizes)
        times = f"{budget.folds} times " if budget.validation == "repeated" else ""
        about = "about " if len(sizes) > 1 else ""
        learnt = (
            f"{times}{about}{_images(fit)} to train on, {held:,} to validate "
            f"({100 * budget.validation_share:g}%, {how})"
        )
    tests = "no test images" if test is None else _images(len(test.samples), "test ")
    return f"finetune: {learnt}, {tests}, {len(train.classes)} classes"


def _images(count: int, which: str = "") -> str:
    return f"{count:,} {which}image{'s' * (count != 1)}"
