"""The training images of a fine-tuning divided into those to fit and those to validate on.

The splitters are scikit-learn's, stratified by class; images of one group stay together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]
_Drawn = tuple[tuple[int, float], tuple[Places, Places]]  # its distance, its fit and validation

CANDIDATES = 100
"""Of a hold-out by groups, which scikit-learn does not stratify: drawn, and a good one is taken."""
_AT_LEAST = 1000
"""So many are looked at before a hold-out is refused, however many hold-outs are asked for: so a
refusal names a number that is possible."""
_SHOWN_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Places in the training images, ascending; each image is in one of the two."""

    fit: Places
    validation: Places


def make_folds(
    labels: Sequence[int] | npt.NDArray[np.integer[Any]],
    groups: Sequence[str] | None,
    *,
    validation: Literal["holdout", "kfold", "repeated"],
    folds: int,
    share: float,
    seed: int,
    classes: Sequence[str] | None = None,
) -> tuple[Fold, ...]:
    """One fold of `holdout`, `folds` of the others; the same for the same arguments.

    labels: (n,) positions in `classes`. groups: (n,); images of one group are in one part. kfold:
    every image is in exactly one validation part. share: of the images that validate, in holdout
    and repeated; the first of the repeated is the hold-out, and no two are equal.
    classes: their names, for messages.

    Raises ValueError: too few images or groups for so many folds or for such a share.
    """
    targets = np.asarray(labels)
    names = [str(label) for label in range(1 + max(targets, default=-1))]
    facts = _Images(targets, None if groups is None else np.asarray(groups), classes or names)
    if validation == "kfold":
        found = facts.k_folds(folds, seed)
    else:
        found = facts.hold_outs(1 if validation == "holdout" else folds, share, seed)
    return tuple(Fold(fit=np.sort(fit), validation=np.sort(held)) for fit, held in found)


class _Images:
    def __init__(
        self, labels: npt.NDArray[Any], groups: npt.NDArray[Any] | None, classes: Sequence[str]
    ) -> None:
        self.labels, self.groups, self.classes = labels, groups, classes
        self.counts: list[int] = np.bincount(labels, minlength=len(classes)).tolist()
        if empty := [name for name, count in zip(classes, self.counts, strict=True) if not count]:
            raise ValueError(f"no training image of {_listed(empty)}: every class needs some")

    def k_folds(self, folds: int, seed: int) -> list[tuple[Places, Places]]:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        if folds > len(self.labels):
            raise ValueError(
                f"{folds} folds of {len(self.labels)} images: let folds be at most the number of "
                "images, or add images"
            )
        few = [
            f"class {name} has {_count(count)}"
            for name, count in zip(self.classes, self.counts, strict=True)
            if count < folds
        ]
        if few:
            fewest = min(self.counts)
            fewer = f"let folds be at most {fewest}, " if fewest > 1 else ""
            raise ValueError(
                f"{_listed(few)}, {folds} folds need {folds}: {fewer}add images, or leave the "
                "class out"
            )
        if self.groups is None:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        else:
            if folds > (count := len(np.unique(self.groups))):
                raise ValueError(
                    f"{folds} folds of {count} groups: let folds be at most the number of groups, "
                    "or divide the groups"
                )
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        found = list(splitter.split(self.labels, self.labels, self.groups))
        for fit, held in found:
            if not len(held):
                raise ValueError(
                    f"the groups differ so much that one of {folds} folds gets no image: let folds "
                    "be fewer, or divide the largest group"
                )
            if lost := self._without(fit):
                raise ValueError(
                    f"all images of {_listed(lost)} are in one fold, because they are in too few "
                    "groups: let every class have images in two groups or more"
                )
        return found

    def hold_outs(self, count: int, share: float, seed: int) -> list[tuple[Places, Places]]:
        if not 0 < share < 1:
            raise ValueError(f"validation_share is {share}, expected more than 0 and less than 1")
        if self.groups is None:
            found = self._stratified(count, share, seed)
        else:
            found = self._by_groups(count, share, seed)
        for fit, held in found:
            for part, what in ((held, "validation image"), (fit, "image to fit")):
                if lost := self._without(part):
                    raise ValueError(self._too_few(lost, what, share))
        return found

    def _stratified(self, count: int, share: float, seed: int) -> list[tuple[Places, Places]]:
        from sklearn.model_selection import StratifiedShuffleSplit

        images, classes = len(self.labels), len(self.classes)
        held = math.ceil(share * images)
        single = [name for name, n in zip(self.classes, self.counts, strict=True) if n < 2]
        if single:
            raise ValueError(self._too_few(single, "validation image", share))
        if min(held, images - held) < classes:  # scikit-learn refuses these two
            part = "validates" if held < classes else "is left to fit"
            raise ValueError(
                f"with validation_share {share:g} of {images} images "
                f"{min(held, images - held)} {part}, too few for {classes} classes: let "
                f"validation_share be {'more' if held < classes else 'less'}, or add images"
            )
        # Each is drawn after the ones before it, so that more candidates change none of them.
        most = max(_AT_LEAST, count * CANDIDATES)
        splitter = StratifiedShuffleSplit(most, test_size=share, random_state=seed)
        found: dict[bytes, tuple[Places, Places]] = {}
        for drawn, (fit, held_out) in enumerate(splitter.split(self.labels, self.labels), 1):
            found.setdefault(np.sort(held_out).tobytes(), (fit, held_out))
            if len(found) == count or drawn >= max(_AT_LEAST, (len(found) + 1) * CANDIDATES):
                break
        if (few := len(found)) < count:
            raise ValueError(
                f"{count} hold-outs with validation_share {share:g}: of {images} images only "
                f"{few} different {'ones were' if few > 1 else 'one was'} drawn; let "
                f"{_fewer(few)}, or add images"
            )
        return list(found.values())

    def _by_groups(self, count: int, share: float, seed: int) -> list[tuple[Places, Places]]:
        """Of the candidates of each hold-out the first that comes nearly as close as any to holding
        out `share` of each class and of all images; no hold-out comes twice."""
        from sklearn.model_selection import GroupShuffleSplit

        assert self.groups is not None, "these are by groups"
        if len(np.unique(self.groups)) < 2:
            raise ValueError(
                "all images are in one group: at least 2 are needed, one to fit and one to validate"
            )
        most = max(_AT_LEAST, count * CANDIDATES)
        splitter = GroupShuffleSplit(most, test_size=share, random_state=seed)
        splits = splitter.split(self.labels, self.labels, self.groups)
        drawn: list[_Drawn] = []

        def until(number: int) -> list[_Drawn]:
            more = islice(splits, max(0, number - len(drawn)))
            drawn.extend((self._distance(split[1], share), split) for split in more)
            return drawn[:number]

        found: list[tuple[Places, Places]] = []
        taken: set[bytes] = set()
        for at in range(0, count * CANDIDATES, CANDIDATES):
            part = _not_in(taken, until(at + CANDIDATES)[at:])
            if all(lacking for (lacking, _), _ in part):
                part = _not_in(taken, until(_AT_LEAST))
            lacking, nearest = min((distance for distance, _ in part), default=(1, 0.0))
            if lacking and found:
                few = len(found)
                raise ValueError(
                    f"{count} hold-outs with validation_share {share:g}: of these groups "
                    f"{f'only {few} different ones have' if few > 1 else 'only one has'} every "
                    "class in both parts; let "
                    f"{_fewer(few)}, or divide the groups"
                )
            enough = lacking, nearest + self._one_image()
            chosen = next(split for distance, split in part if distance <= enough)
            found.append(chosen)
            if lacking:
                break  # which `hold_outs` refuses
            taken.add(chosen[1].tobytes())
        return found

    def _one_image(self) -> float:
        """What one image more or less of an average class is in `_distance`."""
        return float(np.mean(1 / np.array(self.counts)) / len(self.counts) + 1 / len(self.labels))

    def _distance(self, held: Places, share: float) -> tuple[int, float]:
        """How many classes have nothing in one of the parts, and how far the shares are off."""
        there = np.bincount(self.labels[held], minlength=len(self.classes))
        lacking = int(np.sum((there == 0) | (there == self.counts)))
        off = float(np.mean(np.abs(there / np.array(self.counts) - share)))
        return lacking, off + abs(len(held) / len(self.labels) - share)

    def _without(self, places: Places) -> list[str]:
        """The classes of which nothing is there."""
        there = np.bincount(self.labels[places], minlength=len(self.classes))
        return [name for name, count in zip(self.classes, there, strict=True) if not count]

    def _too_few(self, lost: Sequence[str], what: str, share: float) -> str:
        place = {name: label for label, name in enumerate(self.classes)}
        images = [f"class {name} ({_count(self.counts[place[name]])})" for name in lost]
        where = "" if self.groups is None else " without tearing groups apart"
        return (
            f"validation_share {share:g} leaves no {what} of {_listed(images)}{where}: change "
            "validation_share, add images, or leave the class out"
        )


def _not_in(taken: Collection[bytes], drawn: Sequence[_Drawn]) -> list[_Drawn]:
    """Those whose hold-out was not taken before."""
    return [each for each in drawn if each[1][1].tobytes() not in taken]


def _fewer(hold_outs: int) -> str:
    return f"folds be at most {hold_outs}" if hold_outs > 1 else "validation be holdout"


def _count(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _SHOWN_CLASSES} more" if len(every) > _SHOWN_CLASSES else ""
    return ", ".join(every[:_SHOWN_CLASSES]) + more
