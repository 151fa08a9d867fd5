"""What one fold of a fine-tuning leaves behind, so that a killed job does not train it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backbones.atomic import write_json_atomic
from classification.pseudo_labels import PseudoRound
from classification.splits import Fold
from classification.tuned_scores import Probabilities
from engine.evidence import Evidence, read_evidence
from engine.results import StageResult
from engine.second_test import PLAIN_SECONDS, VIEWS_SECONDS

CLASSIFIER = "classifier"
"""Of each fold, in its work folder: the artifact of the fine-tuned backbone and its head."""
SEARCH_SECONDS = "policy_search_seconds"
"""Of the cost."""

_BEGUN = "begun.json"
_RESULT = "fold.json"
_ANSWERS = "fold.safetensors"
_SAID = ("validation", "test", "views", "labelled_only")
_ROUND = "round/"


@dataclass(frozen=True, kw_only=True)
class TunedFold:
    """places: of its validation images among the training images, (v,); validation: what it says
    of them, (v, K); test: of the test images, (t, K), None where there are none; views: of several
    views of those that count, None where the recipe asks for none; labelled_only: of those that
    count by the training without pseudo-labels, None where there are none of these. Of a fold that
    diverged all are None. rounds: what pseudo-labels were admitted. result: its cost, protocol and
    notes."""

    places: npt.NDArray[np.intp]
    validation: Probabilities | None
    test: Probabilities | None
    views: Probabilities | None = None
    labelled_only: Probabilities | None = None
    rounds: tuple[PseudoRound, ...] = ()
    result: StageResult

    def write(self, folder: Path, classes: tuple[str, ...]) -> None:
        """The result comes last: a fold that has one is done."""
        arrays: dict[str, npt.NDArray[Any]] = {"places": self.places.astype(np.int64)}
        said = {name: getattr(self, name) for name in _SAID}
        arrays |= {name: array for name, array in said.items() if array is not None}
        for number, each in enumerate(self.rounds, 1):
            arrays |= {f"{_ROUND}{number}/{name}": array for name, array in vars(each).items()}
        answers = Evidence(task="finetune", classes=classes, images=(), arrays=arrays)
        digest = answers.write(folder / _ANSWERS)
        self.result.model_copy(update={"evidence_sha256": digest}).write(folder / _RESULT)


def check_begun(folder: Path, origin: Mapping[str, Any]) -> None:
    """Raises ValueError where a fold was begun in this folder from another origin: neither its
    checkpoints nor its end are of the fold that is asked for."""
    path = folder / _BEGUN
    try:
        before = json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        before = {}
    if before != origin:
        raise ValueError(
            f"{folder} holds a fine-tuning of another artifact, seed, protocol or division of the "
            f"images ({path.name} says {_of(before)}; asked for: {_of(origin)}): give another "
            "--work-dir, or remove the folder"
        )


def begin(folder: Path, origin: Mapping[str, Any]) -> None:
    """Before anything of the fold is written. origin: what it starts from, as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json_atomic(folder / _BEGUN, dict(origin))


def _of(origin: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {str(value)[:12]}" for name, value in origin.items()) or "nothing"


def find_fold(
    folder: Path, fold: Fold, classes: tuple[str, ...], protocol: Mapping[str, Any]
) -> TunedFold | None:
    """The fold that was trained in this folder before; None where it was not, or not to its end,
    or as part of another fine-tuning."""
    try:
        result = StageResult.read(folder / _RESULT)
        answers = read_evidence(folder / _ANSWERS, sha256=result.evidence_sha256)
    except (OSError, ValueError):
        return None
    same = protocol.items() <= result.protocol.items() and answers.classes == classes
    if not same or not np.array_equal(answers.arrays.get("places", ()), fold.validation):
        return None
    said = {
        name: array.astype(np.float32) for name, array in answers.arrays.items() if name in _SAID
    }
    return TunedFold(
        places=fold.validation,
        validation=said.get("validation"),
        test=said.get("test"),
        views=said.get("views"),
        labelled_only=said.get("labelled_only"),
        rounds=_rounds(answers),
        result=result,
    )


def _rounds(answers: Evidence) -> tuple[PseudoRound, ...]:
    numbers = {name.split("/")[1] for name in answers.arrays if name.startswith(_ROUND)}
    names = [field.name for field in fields(PseudoRound)]
    found = []
    for number in sorted(numbers, key=int):
        arrays: dict[str, Any] = {
            name: answers.arrays[f"{_ROUND}{number}/{name}"] for name in names
        }
        found.append(PseudoRound(**arrays))
    return tuple(found)


def out_of_fold(folds: list[TunedFold], images: int) -> tuple[npt.NDArray[np.intp], Probabilities]:
    """Places of the training images that some fold was validated on, ascending (n,), and what the
    first of these folds says of each (n, K): an answer of one classifier, as a user gets it, where
    the mean of those that happen to share an image would be better the more of them there are.
    images: how many training images there are."""
    known = [(fold.places, fold.validation) for fold in folds if fold.validation is not None]
    assert known, "a fold that did not diverge"
    said = np.zeros((images, known[0][1].shape[1]), np.float32)
    there = np.zeros(images, np.bool_)
    for places, validation in reversed(known):
        said[places] = validation
        there[places] = True
    (found,) = np.nonzero(there)
    return found, said[found]


def ensemble(folds: list[TunedFold]) -> Probabilities | None:
    """The mean of what the folds say of the test images, (t, K); None where there are none."""
    tests = [fold.test for fold in folds if fold.test is not None]
    if not tests:
        return None
    return np.asarray(np.mean(tests, axis=0, dtype=np.float64), np.float32)


def cost_of(folds: Sequence[TunedFold]) -> dict[str, float]:
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
