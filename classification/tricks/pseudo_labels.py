"""Pseudo-labels: images without a label are trained on under what a teacher says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe

Labels = Literal["hard", "soft"]
SELF = "self"
"""The teacher that is the same recipe without this trick, trained on the labelled images alone."""
_THRESHOLD = 0.9


@dataclass(frozen=True)
class PseudoLabels(Trick):
    """labels: "hard" takes the teacher's likeliest class for the label, "soft" its probabilities.

    threshold: images of at least this probability of their likeliest class are admitted, 0.9
    unless a quantile is given. quantile: of the images that the teacher takes for one class those
    are admitted whose probability is at least this quantile of them: 0.8 is the surest fifth of
    each class. share: of each batch that is pseudo-labelled, rounded to whole images, at least one.
    An epoch is one pass over the labelled images, so that with 0.5 it is twice as many steps.

    Round 0 is the recipe without this trick, on the labelled images: the run that the gain is
    measured against. rounds: after it; each starts anew from the artifact's weights, under the
    labels of the round before it; round 1 under those of `teacher`: "self" is round 0, else the
    directory of a fine-tuned classifier of the same classes. Where none is admitted the result is
    that of the round before.
    """

    labels: Labels = "hard"
    threshold: float | None = None
    quantile: float | None = None
    rounds: int = 1
    share: float = 0.5
    teacher: str = SELF

    name = "pseudo_labels"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Lee 2013, Pseudo-Label (ICML workshop); rounds and soft labels: Xie et al. 2020 "
        "(Noisy Student), arXiv:1911.04252; threshold: Sohn et al. 2020 (FixMatch), "
        "arXiv:2001.07685",
        section="Noisy Student: Algorithm 1; FixMatch: section 2.2, without its second view",
        equation="labelled and pseudo-labelled images in one batch, max p >= threshold",
        effect="+2.0 for EfficientNet-L2 by Noisy Student, with 300M unlabelled images",
    )

    def __post_init__(self) -> None:
        if self.labels not in get_args(Labels):
            raise ValueError(
                f"labels must be one of {', '.join(get_args(Labels))}, not {self.labels!r}"
            )
        if self.threshold is not None and self.quantile is not None:
            raise ValueError(
                f"threshold ({self.threshold}) and quantile ({self.quantile}) are two ways to say "
                "which images are admitted: give one of them"
            )
        if self.threshold is None and self.quantile is None:
            object.__setattr__(self, "threshold", _THRESHOLD)
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must lie in (0, 1], not {self.threshold}")
        if self.quantile is not None and not 0 <= self.quantile < 1:
            raise ValueError(f"quantile must lie in [0, 1), not {self.quantile}")
        if not isinstance(self.rounds, int) or self.rounds < 1:
            raise ValueError(f"rounds must be a whole number, at least 1, not {self.rounds}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie in (0, 1), not {self.share}")
        if not isinstance(self.teacher, str) or not self.teacher:
            raise ValueError(
                f'teacher must be "{SELF}" or the directory of a fine-tuned classifier, as a '
                f"string, not {self.teacher!r}"
            )
        if self.teacher != SELF:
            self.teachers_classes()

    def teachers_classes(self) -> tuple[str, ...]:
        """Of a teacher that is an artifact. Raises ValueError where it holds no classifier."""
        from backbones.card import read_card

        classes = read_card(self.teacher).classes
        if not classes:
            raise ValueError(
                f"the teacher {self.teacher} has no classifier: name the folder `classifier` that "
                "a fine-tuning has left"
            )
        return tuple(classes)

    def to_dict(self) -> dict[str, Any]:
        """Of a teacher that is an artifact which weights it has, and not where it lies."""
        said = super().to_dict()
        if self.teacher != SELF:
            from backbones.card import read_card

            said["teacher"] = f"sha256:{read_card(self.teacher).sha256}"
        return said

    def of_batch(self, batch_size: int) -> int:
        """How many images of a batch of at least two are pseudo-labelled."""
        return min(batch_size - 1, max(1, round(self.share * batch_size)))

    @property
    def admits(self) -> str:
        """Which images, in words."""
        if self.quantile is None:
            return f"confidence of at least {self.threshold:g}"
        return f"the surest {100 * (1 - self.quantile):.3g}% of each predicted class"


def pseudo_labels_of(recipe: Recipe) -> PseudoLabels | None:
    """The recipe's trick; None where it has none."""
    return next((trick for trick in recipe.tricks if isinstance(trick, PseudoLabels)), None)


def check_teacher(trick: PseudoLabels, classes: tuple[str, ...]) -> None:
    """Raises ValueError where the teacher is an artifact of other classes."""
    if trick.teacher == SELF:
        return
    if (found := trick.teachers_classes()) != classes:
        others = sorted(set(found) ^ set(classes))[:5] or ["the same in another order"]
        raise ValueError(
            f"the teacher {trick.teacher} has {len(found)} classes, the images {len(classes)}, and "
            f"they differ: {', '.join(others)}; name a classifier of the same classes"
        )
