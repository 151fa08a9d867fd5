"""Training in rounds: on labelled images alone, then under what the round before says of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from backbones.card import read_card
from classification.budget import TrainingPlan
from classification.many_views import probabilities
from classification.pseudo_labels import PseudoImages, PseudoRound, admit
from classification.tricks.pseudo_labels import SELF, PseudoLabels
from classification.tuned_fold import TunedFold
from classification.tuned_scores import Probabilities, all_finite

Train = Callable[[int, PseudoImages | None], TunedFold]
"""Of the number of a round and what it takes beside the labelled images; of round 0 nothing."""
Ask = Callable[[int | None], Probabilities]
"""What a round's classifier says of the unlabelled images, (n, K); of None: the given teacher."""


def train_in_rounds(
    trick: PseudoLabels, paths: Sequence[Path], *, batch_size: int, train: Train, ask: Ask
) -> tuple[list[TunedFold], list[PseudoRound]]:
    """Each round as it was trained, round 0 first, and what was admitted for each after it.

    paths: the n unlabelled images. It ends early where a round diverges, and where none of them is
    admitted: then the last of the second list has no round of its own.

    Raises ValueError where a teacher's probabilities are not all finite.
    """
    done, admitted = [train(0, None)], list[PseudoRound]()
    for number in range(1, trick.rounds + 1):
        if done[-1].validation is None:
            break
        given = number == 1 and trick.teacher != SELF
        said = ask(None if given else number - 1)
        _check_answers(said, trick.teacher if given else f"of round {number - 1}")
        found = admit(said, threshold=trick.threshold, quantile=trick.quantile)
        admitted.append(PseudoRound.of(said, found))
        if not len(found.places):
            break
        labels = found.labels.tolist()
        images = PseudoImages(
            samples=[(paths[p], y) for p, y in zip(found.places.tolist(), labels, strict=True)],
            targets=found.targets if trick.labels == "soft" else None,
            of_batch=trick.of_batch(batch_size),
        )
        done.append(train(number, images))
    return done, admitted


def _check_answers(said: Probabilities, teacher: str) -> None:
    """No threshold is reached by NaN, so that it would look as if no image was sure enough."""
    if all_finite(said):
        return
    lost = sum(not all_finite(row) for row in said)
    raise ValueError(
        f"the teacher {teacher} says something that is not finite of {lost:,} of {len(said):,} "
        "unlabelled images: its training diverged, or the images give it values that its number "
        "format cannot hold; name another teacher of pseudo_labels, or let its learning rate be "
        "smaller"
    )


def as_one(
    done: Sequence[TunedFold],
    admitted: Sequence[PseudoRound],
    *,
    cost: dict[str, float],
    notes: Sequence[str],
) -> TunedFold:
    """The last round, with what round 0 says of the images that count. cost: of all rounds."""
    last, first = done[-1], done[0]
    labelled_only = first.validation if first.test is None else first.test
    told = [note for each in done for note in each.result.notes]
    return replace(
        last,
        labelled_only=None if last.validation is None else labelled_only,
        rounds=tuple(admitted),
        result=last.result.model_copy(
            update={
                "cost": cost,
                "notes": tuple(dict.fromkeys([*notes, *told])),
                "evidence_sha256": None,
            }
        ),
    )


def round_notes(trick: PseudoLabels, admitted: Sequence[PseudoRound], which: str) -> list[str]:
    """What was admitted for each round, a sentence each. which: the fold, in words."""
    found = []
    for number, each in enumerate(admitted, 1):
        of, count = f"{len(each.admitted):,} unlabelled images", int(each.admitted.sum())
        begin = f"pseudo-labels{which}, round {number}: "
        if count:
            found.append(f"{begin}{count:,} of {of} admitted ({trick.admits})")
        else:
            instead = f"of round {number - 1}" if number > 1 else "of the labelled-only run"
            found.append(
                f"{begin}none of {of} admitted ({trick.admits}): the result is that {instead}"
            )
    return found


def say_of(
    artifact: Path, paths: Sequence[Path], plan: TrainingPlan, *, workers: int
) -> Probabilities:
    """What an artifact's classifier says of the central view of each image, (n, K), in the size
    that its card names; where it names none, in the plan's."""
    from mmengine.device import get_device

    from classification.data import Normalizer
    from classification.model import TrainedClassifier, load_classifier
    from classification.recipe import Recipe

    if (said := read_card(artifact).dataset) is not None:
        plan = replace(
            plan,
            eval_size=said.get("eval_size", plan.eval_size),
            resize_size=said.get("resize_size", plan.resize_size),
        )
    classifier = load_classifier(artifact)
    preprocessing = classifier.backbone.preprocessing
    model = TrainedClassifier(
        classifier,
        Recipe(),
        num_classes=classifier.head.out_features,
        normalizer=Normalizer(preprocessing, channels_last=False),
    )
    return probabilities(
        model.to(get_device()),
        [(path, 0) for path in paths],
        plan,
        preprocessing,
        batch_size=min(256, plan.batch_size * plan.accumulation * 2),
        workers=workers,
    )
