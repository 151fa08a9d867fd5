"""What the folds of one fine-tuning share: where it starts, its images and its recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.card import Card
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.schema import FineTuneBudget
from classification.budget import TrainingPlan, training_plan
from classification.derived import find_recipe
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING
from classification.tricks.pseudo_labels import PseudoLabels, pseudo_labels_of

if TYPE_CHECKING:
    from classification.splits import Fold


@dataclass(frozen=True, kw_only=True)
class FineTuneTask:
    """artifact: what it starts from, with its card. recipe: a name of `FINE_TUNING`. test: None
    where the data has no test images. protocol: of `finetune_protocol`. name: of the benchmark.
    unlabelled: images that a recipe with pseudo-labels learns from. row: what the user calls it."""

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
    row: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def label(self) -> str:
        """For what is said to the user while it runs."""
        row = self.row or f"{self.card.architecture} ({self.card.weights}), {self.recipe}"
        return f"fine-tuning, {row}, seed {self.seed}"

    @property
    def found_recipe(self) -> Recipe:
        return find_recipe(self.recipe, FINE_TUNING)

    @property
    def pseudo_labels(self) -> PseudoLabels | None:
        return pseudo_labels_of(self.found_recipe)

    @property
    def has_folds(self) -> bool:
        """Whether several classifiers are trained, each on a part of the images."""
        return self.budget.validation != "holdout"

    def plan(self, images: int) -> TrainingPlan:
        """Of a fold that is fitted to so many images."""
        return training_plan(
            self.found_recipe, self.budget, images, architecture=self.card.architecture
        )

    def unlabelled_of(self, fold: Fold) -> list[Path]:
        """Those that a fold may learn from: none of a group that it is validated or tested on."""
        from classification.pseudo_labels import leaks

        tests = () if self.test is None else self.test.samples
        guarded = [path for path, _ in (*self.train.samples, *tests)]
        assert not leaks(self.unlabelled, guarded), "an unlabelled image is a labelled or test one"
        if self.train.groups is None:
            return list(self.unlabelled)
        every = with_their_labels(self.budget)
        assert every.groups is not None, "some have one"
        places = zip(every.samples, every.groups, strict=True)
        group_of = {path: group for (path, _), group in places}
        held = {self.train.groups[i] for i in fold.validation}
        held |= set() if self.test is None else set(self.test.groups or ())
        return [path for path in self.unlabelled if group_of.get(path) not in held]


def with_their_labels(budget: FineTuneBudget) -> LabelledImages:
    """All training images, those too that do not count as labelled."""
    every = read_labelled(budget.model_copy(update={"labelled_per_class": None}), "train")
    assert every is not None, "there are training images"
    return every
