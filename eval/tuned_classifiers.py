"""Where the classifiers of fine-tunings lie: artifacts in the work folders of their jobs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backbones.card import CARD_NAME
from eval.intervals import interval
from eval.layout import Layout
from eval.records import Record

METRIC = "tuned_top1"
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


def classifiers_of(
    records: Iterable[Record], layouts: Sequence[Layout], *, below: Path
) -> dict[str, TunedClassifier]:
    """By the record's key, of each that has a classifier in one of the OUTs.

    Paths are seen from `below` where they lie there, else absolute.
    """
    found: dict[str, TunedClassifier] = {}
    for record in records:
        for layout in layouts if record.task == "finetune" else ():
            # A job's folder is named by its backbone, too, which the key makes needless here.
            name = f"finetune-*-s{record.seed}-{record.key[:8]}"
            for work in sorted(layout.work.glob(name)) if layout.work.is_dir() else ():
                classifier = _in_folder(record, work)
                if classifier is not None and record.key not in found:
                    found[record.key] = classifier
    return {key: _seen_from(below, classifier) for key, classifier in found.items()}


def best_record(
    records: Iterable[Record], classifiers: Mapping[str, TunedClassifier]
) -> Record | None:
    """Of the row of the highest mean the seed of the highest top-1, out of those whose classifier
    is known."""
    rows: dict[str, list[tuple[float, Record]]] = {}
    for record in records:
        metric = record.metrics.get(METRIC)
        if record.task == "finetune" and metric is not None and metric.value is not None:
            rows.setdefault(record.backbone, []).append((metric.value, record))
    means = {name: interval([value for value, _ in of]) for name, of in rows.items()}
    ranked = sorted(rows, key=lambda name: -(mean.mean if (mean := means[name]) else 0.0))
    if not ranked:
        return None
    best = [found for found in rows[ranked[0]] if found[1].key in classifiers]
    return max(best, key=lambda found: found[0])[1] if best else None


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
