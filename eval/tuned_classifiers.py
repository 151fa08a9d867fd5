"""Which fine-tuning validated best, and where the classifiers of fine-tunings lie: artifacts in the
work folders of their jobs, and the one that `trickle finetune` chose in OUT/classifier."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from backbones.card import CARD_NAME, WEIGHTS_NAME, ArtifactError, read_card
from eval.layout import Layout
from eval.records import Record
from eval.specs import tuning_of

EXPORTED = "classifier"
"""The folder of an OUT that holds the classifier that `trickle finetune` chose."""
_BY_VALIDATION = ("validation_top1", "tuned_top1")
"""What a classifier is chosen by: the second where nothing is tested, so that it is of validation
images."""
_DIGITS = 9  # means of the same numbers in another order are the same
_FOLDS = "folds"
_PLACE = re.compile(r"(fold-(?P<fold>[0-9]{1,4})/)?classifier")
"""What a record may say: others' records may say anything."""


@dataclass(frozen=True, kw_only=True)
class TunedClassifier:
    """path: of its artifact. fold, folds: which one it is, of how many; 0 where it is the only
    one."""

    path: Path
    fold: int = 0
    folds: int = 0

    @property
    def which(self) -> str:
        """Empty for the only one."""
        if not self.fold:
            return ""
        return (
            f"fold {self.fold} of {self.folds}, the best on the images that it was validated on; "
            "the table's numbers are of all folds together"
        )

    @property
    def command(self) -> str:
        return f"trickle export {shlex.quote(str(self.path))} --to onnx"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The fine-tuning that validated best: of the row of the highest mean over its seeds the seed
    of the highest score.

    score: its validation top-1 in percent; n: of so many images. row_mean, row_seeds: of its row.
    rows, seeds: how many were as high, itself counted.
    """

    record: Record
    score: float
    n: int
    row_mean: float
    row_seeds: int
    rows: int = 1
    seeds: int = 1

    @property
    def said(self) -> str:
        """`seed 0: 95.8 on 24 validation images`, and what decided between equals."""
        images = f"{self.n} validation image{'s' * (self.n != 1)}"
        parts = [f"seed {self.record.seed}: {self.score:.1f} on {images}"]
        if self.row_seeds > 1:
            parts.append(f"{self.row_mean:.1f} in the mean of its {self.row_seeds} seeds")
        if self.rows > 1:
            taken = "the one of the fewest tricks, then the first by name, was taken"
            parts.append(f"{self.rows} rows validated alike: {taken}")
        if self.seeds > 1:
            parts.append(f"{self.seeds} seeds validated alike: the first was taken")
        return "; ".join(parts)


def best_record(records: Iterable[Record]) -> Best | None:
    """Of fine-tunings, whatever their order; None where none has been validated.

    The test images have no say, nor has the order of the rows, which may be that of their scores.
    """
    rows: dict[str, list[tuple[float, int, Record]]] = {}
    for record in records:
        name = next((name for name in _BY_VALIDATION if name in record.metrics), None)
        if record.task != "finetune" or record.status != "ok" or name is None:
            continue
        metric = record.metrics[name]
        if metric.value is not None:
            rows.setdefault(record.backbone, []).append((metric.value, metric.n, record))
    if not rows:
        return None
    means = {name: round(fmean(score for score, *_ in of), _DIGITS) for name, of in rows.items()}
    highest = max(means.values())
    alike = [of for name, of in rows.items() if means[name] == highest]
    row = min(alike, key=lambda of: _order(of[0][2]))
    score = max(score for score, *_ in row)
    seeds = [one for one in row if one[0] == score]
    _, n, record = min(seeds, key=lambda one: one[2].seed)
    return Best(
        record=record,
        score=score,
        n=n,
        row_mean=highest,
        row_seeds=len(row),
        rows=len(alike),
        seeds=len(seeds),
    )


def _order(record: Record) -> tuple[int, str, str, str]:
    """Of rows that validated alike. By names that are the same when those of files are cut."""
    weights = record.weights_sha256 or ""
    return len(record.tricks), tuning_of(record.backbone) or "", record.lineage, weights


def card_of(artifact: Path) -> bytes | None:
    """What is said of its weights, their sha256 among it; None where there is no whole artifact."""
    if not (artifact / WEIGHTS_NAME).is_file():
        return None
    try:
        read_card(artifact)
        return (artifact / CARD_NAME).read_bytes()
    except (ArtifactError, OSError):
        return None


def classifiers_of(
    records: Iterable[Record], layouts: Sequence[Layout], *, below: Path
) -> dict[str, TunedClassifier]:
    """By the record's key, of each that has a classifier in one of the OUTs.

    One that was exported to OUT/classifier is said to lie there. Paths are seen from `below` where
    they lie there, else absolute.
    """
    exported = {layout.root: card_of(layout.root / EXPORTED) for layout in layouts}
    found: dict[str, TunedClassifier] = {}
    for record in records:
        for layout in layouts if record.task == "finetune" else ():
            # A job's folder is named by its backbone, too, which the key makes needless here.
            name = f"finetune-*-s{record.seed}-{record.key[:8]}"
            for work in sorted(layout.work.glob(name)) if layout.work.is_dir() else ():
                classifier = _in_folder(record, work)
                if classifier is None or record.key in found:
                    continue
                card = exported[layout.root]
                if card is not None and card == card_of(classifier.path):
                    classifier = replace(classifier, path=layout.root / EXPORTED)
                found[record.key] = classifier
    return {key: _seen_from(below, classifier) for key, classifier in found.items()}


def _in_folder(record: Record, work: Path) -> TunedClassifier | None:
    """Of several folds that of the highest top-1 on its own validation images."""
    scores = record.per_class.get(_FOLDS, {})
    best, highest = None, -1.0
    for part in record.environment.get("classifier", "").split(", "):
        place = _PLACE.fullmatch(part)
        if place is None or not (work / part / CARD_NAME).is_file():
            continue
        if place["fold"] is None:
            return TunedClassifier(path=work / part)
        fold = int(place["fold"])
        score = scores.get(f"fold {fold}")
        if best is None or (score is not None and score > highest):
            best = TunedClassifier(path=work / part, fold=fold, folds=len(scores))
            highest = -1.0 if score is None else score
    return best


def _seen_from(folder: Path, classifier: TunedClassifier) -> TunedClassifier:
    try:
        path = classifier.path.relative_to(folder)
    except ValueError:
        return classifier
    return TunedClassifier(path=path, fold=classifier.fold, folds=classifier.folds)
