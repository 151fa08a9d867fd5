"""How far each pretrained classifier's confidence can be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classification.calibration import (
    BINS,
    Reliability,
    bias,
    brier_score,
    error_by_chance,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from eval.intervals import paired_difference
from eval.records import Record, TaskName
from eval.sections.classifiers import Seen, Unseen, by_backbone, count_of, over_seeds, see, short
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    common,
    difference_cell,
    how_measured,
    judged,
    none_differs,
    reference_of,
    references,
)
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Paragraph, Plot, Section

_MOST_DIAGRAMS = 8
_COLUMNS = 4
_SIGNIFICANT = 1.96  # standard deviations, 95%
_FEWEST = 5  # images that a point of a diagram is drawn of
_GREY = "#7f7f7f"
_SOFTENING = ("label_smoothing", "mixup", "cutmix", "distillation")
"""Tricks under which the target of a training image is not one class alone."""

_Values = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class _Seed:
    """What one classifier shows; percent, but for brier and nll. deviations: of its bias."""

    accuracy: float
    confidence: float
    bias: float
    deviations: float
    ece: float
    chance: float
    brier: float
    nll: float
    n: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    backbone: str
    tricks: tuple[str, ...]
    loss: str | None
    seeds: dict[int, _Seed]
    diagram: Reliability

    def values(self, name: str) -> list[float]:
        return [getattr(self.seeds[seed], name) for seed in sorted(self.seeds)]

    def mean(self, name: str) -> float:
        return float(np.mean(self.values(name)))

    @property
    def tendency(self) -> str:
        """Only what every seed shows beyond what so many images show by chance."""
        deviations = self.values("deviations")
        if min(deviations) > _SIGNIFICANT:
            return "over-confident"
        if max(deviations) < -_SIGNIFICANT:
            return "under-confident"
        return "no evidence"


def section(material: Material) -> Section | None:
    """Calibration error, reliability diagrams, and whose confidence is too low or too high."""
    return _section(material, "classification", key="calibration", title="Calibration")


def own_section(material: Material) -> Section | None:
    """The same of fine-tuned classifiers."""
    return _section(material, "finetune", key="own-calibration", title="Your images: calibration")


def _section(material: Material, task: TaskName, *, key: str, title: str) -> Section | None:
    records = material.of_task(task)
    if not records:
        return None
    unseen = Unseen()
    rows = []
    for backbone, found in by_backbone(records).items():
        if (row := _row(material, backbone, found, unseen)) is not None:
            rows.append(row)
    if not rows:
        return Section(
            key=key,
            title=title,
            lead="No answers were kept from which calibration could be told.",
            left_out=unseen.in_words(),
        )
    ranked = sorted(rows, key=lambda row: row.mean("ece"))
    of = references(material, task, [row.backbone for row in rows])
    changes = _changes(rows, of)
    blocks: tuple[Block, ...] = (
        _grid(rows, changes, of, tested="tested" if task == "finetune" else "validation"),
        *_on_soft_targets(rows),
        *_on_sigmoids(rows),
        *_diagrams(ranked),
    )
    return Section(
        key=key,
        title=title,
        lead=_lead(ranked) + _on_changes(changes, of),
        blocks=blocks,
        left_out=unseen.in_words(),
    )


def _row(
    material: Material, backbone: str, records: Sequence[Record], unseen: Unseen
) -> _Row | None:
    seeds: dict[int, _Seed] = {}
    confidences, rights = [], []
    for record in records:
        if (seen := see(material, record, unseen)) is None:
            continue
        seeds[record.seed] = _measured(seen)
        confidences.append(seen.answers.confidence)
        rights.append(seen.answers.right)
    if not seeds:
        return None
    recipe = records[0].protocol.get("recipe")
    loss = recipe.get("loss") if isinstance(recipe, dict) else None
    return _Row(
        backbone=backbone,
        tricks=records[0].tricks,
        loss=loss if isinstance(loss, str) else None,
        seeds=seeds,
        diagram=reliability(np.concatenate(confidences), np.concatenate(rights)),
    )


def _measured(seen: Seen) -> _Seed:
    confidence, right = seen.answers.confidence, seen.answers.right
    diagram = reliability(confidence, right)
    gap, deviations = bias(confidence, right)
    return _Seed(
        accuracy=100 * float(right.mean()),
        confidence=100 * float(confidence.mean(dtype=np.float64)),
        bias=gap,
        deviations=deviations,
        ece=expected_calibration_error(diagram),
        chance=error_by_chance(diagram),
        brier=brier_score(confidence, right),
        nll=negative_log_likelihood(seen.answers.label_confidence),
        n=len(right),
    )


def _changes(rows: Sequence[_Row], of: Mapping[str, str | None]) -> dict[str, Difference]:
    """backbone -> its ECE minus that of the row it is compared with, over their common seeds."""
    ece = {row.backbone: {s: {"": seed.ece} for s, seed in row.seeds.items()} for row in rows}
    return judged(
        {
            row.backbone: common(ece[row.backbone], ece[other]).get("", [])
            for row in rows
            if (other := of[row.backbone]) in ece and other != row.backbone
        }
    )


def _on_changes(changes: Mapping[str, Difference], of: Mapping[str, str | None]) -> str:
    if not changes:
        return ""
    sure = [found.mean for found in changes.values() if found.sure]
    said = [
        f"{count} {word}"
        for count, word in (
            (sum(mean < 0 for mean in sure), "better"),
            (sum(mean > 0 for mean in sure), "worse"),
        )
        if count
    ]
    return (
        f" Compared with {reference_of(changes, of)}, by ECE: "
        f"{' and '.join(said) or none_differs(changes.values())}"
        f"{f', of {len(changes)}, beyond chance' if said else ''}."
    )


def _lead(ranked: Sequence[_Row]) -> str:
    """ranked: best calibrated first."""
    best = ranked[0]
    if len(ranked) == 1:
        return (
            f"{best.backbone} is right in {best.mean('accuracy'):.1f}% of the images and "
            f"{best.mean('confidence'):.1f}% sure of its answers on the mean: {_said(best)}, with "
            f"a calibration error (ECE) of {best.mean('ece'):.1f} points."
        )
    worst = ranked[-1]
    last = f" Worst is {worst.backbone} with {worst.mean('ece'):.1f}, {_said(worst)}."
    tendencies = [row.tendency for row in ranked]
    counts = [
        f"{tendencies.count(name)} {'is' if tendencies.count(name) == 1 else 'are'} {name}"
        for name in ("under-confident", "over-confident")
        if name in tendencies
    ]
    return (
        f"Best calibrated is {best.backbone}, whose confidence and accuracy lie "
        f"{best.mean('ece'):.1f} points apart (ECE); {_compared(best, ranked[1])}."
        f"{last if len(ranked) > 2 else ''} Of {len(ranked)} classifiers "
        f"{' and '.join(counts) or 'none is biased'} beyond chance."
    )


def _said(row: _Row) -> str:
    if row.tendency == "no evidence":
        return "with no evidence of too much or too little confidence"
    return f"{row.tendency} by {abs(row.mean('bias')):.1f} points"


def _compared(best: _Row, second: _Row) -> str:
    errors = [{s: seed.ece for s, seed in row.seeds.items()} for row in (second, best)]
    name, ece = second.backbone, second.mean("ece")
    difference = paired_difference(*errors)
    if difference is None or difference.ci95 is None:
        return f"next is {name} with {ece:.1f}, and fewer than two seeds do not tell them apart"
    if difference.ci95[0] <= 0:
        return f"next is {name} with {ece:.1f}, and there is no evidence that they differ"
    half = difference.ci95[1] - difference.mean
    return f"{name}, the next, lies {difference.mean:.1f} ± {half:.1f} points higher"


def _grid(
    rows: Sequence[_Row],
    changes: Mapping[str, Difference],
    of: Mapping[str, str | None],
    *,
    tested: str,
) -> Grid:
    delta = ("Δ ECE",) if changes else ()
    notes = (
        [
            f"Δ ECE: minus that of {reference_of(changes, of)}. "
            f"{how_measured(changes.values())}. {BEYOND_CHANCE} the rows."
        ]
        if changes
        else []
    )
    return Grid(
        caption=f"Confidence (softmax of the prediction) against accuracy on the {tested} images; "
        + (
            "one seed, no interval"
            if all(len(row.seeds) == 1 for row in rows)
            else "mean over the seeds ± half of the 95% interval; none of one seed"
        ),
        header=(
            "backbone",
            "accuracy %",
            "confidence %",
            "confidence − accuracy",
            "tendency",
            "ECE",
            *delta,
            "ECE by chance",
            "Brier",
            "NLL",
            "seeds",
        ),
        rows=tuple(
            (
                Cell(text=row.backbone),
                over_seeds(row.values("accuracy")),
                over_seeds(row.values("confidence")),
                over_seeds(row.values("bias"), signed=True),
                Cell(text=row.tendency, sort=row.mean("deviations")),
                over_seeds(row.values("ece"), 2),
                *(difference_cell(changes.get(row.backbone)) for _ in delta),
                over_seeds(row.values("chance"), 2),
                over_seeds(row.values("brier"), 4),
                over_seeds(row.values("nll"), 3),
                Cell(text=str(len(row.seeds)), sort=len(row.seeds)),
            )
            for row in rows
        ),
        notes=(
            f"ECE: expected calibration error in points, {BINS} bins of equal width (Guo et al. "
            "2017, eq. 3). ECE by chance: about what a perfectly calibrated classifier would show "
            f"on {_images(rows)} with these confidences.",
            "Tendency: what every seed shows beyond 1.96 standard deviations of what a calibrated "
            "classifier would; it is not corrected for the number of rows.",
            "Brier: mean square of confidence minus right (0 or 1). NLL: mean negative logarithm "
            "of the label's softmax, in nats. All but accuracy are better when lower.",
            *notes,
        ),
    )


def _images(rows: Sequence[_Row]) -> str:
    counts = sorted({seed.n for row in rows for seed in row.seeds.values()})
    if len(counts) == 1:
        return count_of(counts[0], "image")
    return f"{counts[0]} to {counts[-1]} images"


def _on_soft_targets(rows: Sequence[_Row]) -> list[Paragraph]:
    """Whether smoothing, mixing and distilling go with too little confidence, where some rows do
    it and others do not."""
    softened = {name for row in rows for name in row.tricks if name in _SOFTENING}
    soft = [row for row in rows if softened & set(row.tricks)]
    hard = [row for row in rows if not softened & set(row.tricks)]
    if not soft or not hard:
        return []
    said = [
        f"of {len(group)} {which}, {sum(row.tendency == 'under-confident' for row in group)} "
        "under-confident beyond chance, confidence minus accuracy "
        f"{np.mean([row.mean('bias') for row in group]):+z.1f} points on the mean"
        for group, which in ((soft, "trained with them"), (hard, "trained without"))
    ]
    names = ", ".join(name.replace("_", " ") for name in _SOFTENING if name in softened)
    return [Paragraph(text=f"Soft targets ({names}): {said[0]}; {said[1]}.")]


def _on_sigmoids(rows: Sequence[_Row]) -> list[Paragraph]:
    names = [row.backbone for row in rows if row.loss == "binary_cross_entropy"]
    if not names:
        return []
    listed = ", ".join(names[:_MOST_DIAGRAMS])
    more = f" and {len(names) - _MOST_DIAGRAMS} more" if len(names) > _MOST_DIAGRAMS else ""
    return [
        Paragraph(
            text=f"Trained by binary cross-entropy, each class on its own, and not to give a "
            f"softmax that can be believed: {listed}{more}."
        )
    ]


def _diagrams(ranked: Sequence[_Row]) -> list[Plot]:
    shown = list(ranked)
    which = "best calibrated first"
    if len(shown) > _MOST_DIAGRAMS:
        half = _MOST_DIAGRAMS // 2
        shown = [*ranked[:half], *ranked[-half:]]
        which = f"the {half} best and the {half} worst calibrated of {len(ranked)}"
    lines = -(-len(shown) // _COLUMNS)
    columns = min(len(shown), _COLUMNS)
    said = "; ".join(f"{row.backbone} {row.mean('ece'):.1f}" for row in shown)
    return [
        Plot(
            caption=f"Reliability diagrams, {which}: accuracy of the answers of each confidence, "
            f"all seeds together. Below the dashed line a classifier is over-confident, above it "
            "under-confident. Upright lines are 95% intervals of the accuracy; grey bars show the "
            f"share of the answers, and what rests on fewer than {_FEWEST} is left out.",
            alt=f"Reliability diagrams, accuracy against confidence. Calibration errors: {said}.",
            draw=_draw_diagrams(shown, lines, columns),
            size=(max(3.2, 2.1 * columns), 2.3 * lines + 0.3),
        )
    ]


def _draw_diagrams(rows: Sequence[_Row], lines: int, columns: int) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(rows) :]:
            axes.remove()
        width = 1 / BINS
        centers = (np.arange(BINS) + 0.5) * width
        for axes, row in zip(grid.flat, rows, strict=False):
            diagram, drawn = row.diagram, row.diagram.count >= _FEWEST
            axes.bar(centers, diagram.count / diagram.count.sum(), width, color=_GREY, alpha=0.35)
            axes.plot([0, 1], [0, 1], "--", lw=1, color=_GREY)
            if drawn.any():
                _draw_accuracy(axes, row, drawn)
            axes.set_title(f"{short(row.backbone, 26)}\nECE {row.mean('ece'):.1f}", fontsize=8)
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 0.5, 1])
            axes.set_yticks([0, 0.5, 1])
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy")
        for place in range(max(0, len(rows) - columns), len(rows)):
            grid.flat[place].set_xlabel("confidence")
            grid.flat[place].tick_params(labelbottom=True)

    return draw


def _draw_accuracy(axes: Any, row: _Row, drawn: npt.NDArray[np.bool_]) -> None:
    diagram = row.diagram
    x, y = diagram.confidence[drawn], diagram.accuracy[drawn]
    # The seeds answered the same images: several do not make it surer.
    low, high = _wilson(y, diagram.count[drawn] / len(row.seeds))
    axes.plot(x, y, "o-", ms=3, lw=1.4, clip_on=False)
    axes.vlines(x, low, high, lw=1, color="C0", alpha=0.7)


def _wilson(share: _Values, count: _Values) -> tuple[_Values, _Values]:
    """95% interval of a share of so many (Wilson, JASA 1927)."""
    square = _SIGNIFICANT**2
    center = (share + square / (2 * count)) / (1 + square / count)
    root = np.sqrt(share * (1 - share) / count + square / (4 * count**2))
    half = _SIGNIFICANT * root / (1 + square / count)
    return center - half, center + half
