"""A fold of a fine-tuning, finished: as it was left behind, or trained now."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from classification.derived import name_with_only
from classification.finetune_task import FineTuneTask
from classification.fold_training import train_fold
from classification.learning_rate_range import FILE_NAME as RANGE_FILE
from classification.policy_search.searched_policy import TRIALS_FILE
from classification.pseudo_labels import PseudoImages
from classification.pseudo_rounds import as_one, round_notes, say_of, train_in_rounds
from classification.recipes import FINE_TUNING
from classification.splits import Fold
from classification.tricks.pseudo_labels import PseudoLabels
from classification.tuned_fold import (
    CLASSIFIER,
    SEARCH_SECONDS,
    TunedFold,
    begin,
    check_begun,
    cost_of,
    find_fold,
)
from classification.tuned_scores import Probabilities
from engine import checkpoints
from engine.agreement import all_or_none
from engine.cost import stopwatch
from engine.processes import is_main, tell, wait_for_others


def finished_fold(
    task: FineTuneTask, fold: Fold, which: str, folder: Path, pseudo: PseudoImages | None = None
) -> TunedFold:
    """which: the fold, in words. folder: its work folder. pseudo: of one of its rounds.

    Raises ValueError where another fine-tuning was begun in the folder, and as `train_fold` does.
    """
    origin = _origin(task, fold)
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
        found = train_fold(task, fold, which, folder, pseudo)
    else:
        found = _trained_in_rounds(task, task.pseudo_labels, fold, which, folder)
    if is_main():
        found.write(folder, task.classes)
    _remove_checkpoints(found, folder)
    wait_for_others()
    return found


def _origin(task: FineTuneTask, fold: Fold) -> dict[str, Any]:
    """What checkpoints of the fold must have been begun from, images that validate included."""
    places = {"fit": fold.fit.tolist(), "validation": fold.validation.tolist()}
    said = {"protocol": task.protocol, "images": places}
    digests = {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for name, value in said.items()
    }
    return {"artifact": task.card.sha256, "seed": task.seed, **digests}


def _remove_checkpoints(fold: TunedFold, folder: Path) -> None:
    """Of a fold that is finished, whose classifier is verified: two for each fold would add up."""
    if fold.validation is not None and is_main():
        checkpoints.remove_all(folder)


def _trained_in_rounds(
    task: FineTuneTask, trick: PseudoLabels, fold: Fold, which: str, folder: Path
) -> TunedFold:
    """Each round in a folder of its own; the last one's classifier is that of the fold."""
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
        return finished_fold(own, fold, f"{which}, {said}", place(number), images)

    def ask(number: int | None) -> Probabilities:
        teacher = Path(trick.teacher) if number is None else place(number) / CLASSIFIER
        tell(f"{task.label}{which}: {len(paths):,} unlabelled images are looked at")
        with stopwatch(asking):
            return say_of(teacher, paths, plan, workers=task.budget.workers)

    done, admitted = train_in_rounds(trick, paths, batch_size=plan.batch_size, train=train, ask=ask)
    if is_main() and done[-1].validation is not None:
        shutil.rmtree(folder / CLASSIFIER, ignore_errors=True)  # of a job that was killed here
        last = place(len(done) - 1)
        shutil.copytree(last / CLASSIFIER, folder / CLASSIFIER)
        if (last / RANGE_FILE).is_file():
            shutil.copy(last / RANGE_FILE, folder / RANGE_FILE)
    cost = cost_of(done)
    if SEARCH_SECONDS in cost:  # one search, and each round counts it
        once = done[0].result.cost[SEARCH_SECONDS]
        cost["seconds"] -= cost[SEARCH_SECONDS] - once
        cost[SEARCH_SECONDS] = once
    cost["seconds"] += asking.get("seconds", 0.0)
    notes = round_notes(trick, admitted, which)
    for note in notes:
        tell(f"{task.label}: {note}")
    return as_one(done, admitted, cost=cost, notes=notes)
