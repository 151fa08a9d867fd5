"""Test-time augmentation: what a second test on several views of each image gains, beside what it
costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from classification.tricks.test_time_views import TestTimeViews
from engine.second_test import PLAIN_SECONDS, SUFFIX, VIEWS_SECONDS, views_in
from eval.image_bootstrap import ByImage
from eval.jobs import TASK_FACTS
from eval.records import Record, TaskName
from eval.sections.as_another import as_another
from eval.sections.by_backbone import mean
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    difference_cell,
    how_measured,
    judged,
    told,
)
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Section, number
from eval.tables import TITLES

TITLE = "Test-time augmentation"
ONLY_TESTS = frozenset({TestTimeViews.name})
"""Tricks that act after the training alone: the plain scores are the same with and without."""
METRICS: dict[TaskName, tuple[str, str]] = {
    "finetune": ("tuned_top1", "tta_top1"),
    "detection": ("mAP", "mAP" + SUFFIX),
    "segmentation": ("mIoU", "mIoU" + SUFFIX),
}
"""Of the plain test and of the second, by task."""


def section(material: Material) -> Section | None:
    """None where nothing was tested on several views."""
    grids, leads = [], []
    for task, (plain, views) in METRICS.items():
        rows: dict[str, list[Record]] = defaultdict(list)
        for record in material.of_task(task):
            if _value(record, plain) is not None and _value(record, views) is not None:
                rows[record.backbone].append(record)
        if rows:
            gains = _gains(material, rows, plain, views)
            grids.append(_grid(task, rows, gains, plain, views))
            times = mean(_times(records) for records in rows.values())
            cost = "" if times is None else f", in {times:.1f} times the seconds of the test"
            leads.append(
                f"In {TASK_FACTS[task].title} ({TITLES.get(plain, plain)}): "
                f"{told(gains, 'backbone', 'backbones')}{cost}."
            )
    if not grids:
        return None
    return Section(
        key="test-time",
        title=TITLE,
        lead="\n".join(leads),
        blocks=tuple(grids),
    )


def _gains(
    material: Material, rows: Mapping[str, Sequence[Record]], plain: str, views: str
) -> dict[str, Difference]:
    """By backbone: the same weights twice, so paired by seed, and of one seed by image."""
    by_seed, by_image = {}, {}
    for backbone, records in rows.items():
        by_seed[backbone] = [_gain(record, plain, views) for record in records]
        if len(records) == 1 and (found := _by_image(material, records[0], plain, views)):
            by_image[backbone] = found
    return judged(by_seed, by_image)


def _by_image(material: Material, record: Record, plain: str, views: str) -> ByImage | None:
    found = as_another(material, record, plain, views, views_in)
    return found.bootstrap.difference(plain, {record.seed: found.other}, {record.seed: record})


def _grid(
    task: TaskName,
    rows: Mapping[str, Sequence[Record]],
    gains: Mapping[str, Difference],
    plain: str,
    views: str,
) -> Grid:
    def line(backbone: str, records: Sequence[Record]) -> tuple[Cell, ...]:
        times = _times(records)
        return (
            Cell(text=backbone, detail=views_in_words(records)),
            number(mean(_value(record, plain) for record in records)),
            number(mean(_value(record, views) for record in records)),
            difference_cell(gains.get(backbone)),
            number(_seconds(records, PLAIN_SECONDS)),
            number(_seconds(records, VIEWS_SECONDS)),
            Cell(text="–") if times is None else Cell(text=f"{times:.1f}x", sort=times),
        )

    return Grid(
        caption=f"{TASK_FACTS[task].title.capitalize()}: the same weights, tested plainly and on "
        f"several views of each image, {TITLES.get(plain, plain)} in percent",
        header=("backbone", "plain", "views", "gain", "plain, s", "views, s", "cost"),
        rows=tuple(line(backbone, records) for backbone, records in rows.items()),
        notes=(
            f"{how_measured(gains.values())}. {BEYOND_CHANCE} these backbones.",
            "cost: seconds of the test on views over those of the plain test.",
        ),
    )


def views_in_words(records: Iterable[Record]) -> str:
    """`scales 1, 1.5, mirrored too`, of what the records' protocols say, or of fine-tunings the
    trick of their recipes."""
    said = []
    for record in records:
        recipe = record.protocol.get("recipe")
        tricks = recipe.get("tricks") if isinstance(recipe, dict) else None
        trick = tricks.get(TestTimeViews.name) if isinstance(tricks, dict) else None
        found = record.protocol.get("test_time", trick)
        if isinstance(found, dict):
            scales = ", ".join(f"{scale:g}" for scale in found.get("scales", ()))
            crops = found.get("crops", 1)
            parts = [f"scales {scales}" if scales else "", f"{crops} crops" if crops != 1 else ""]
            parts.append("mirrored too" if found.get("flip") else "")
            parts.append("their logits averaged" if found.get("of") == "logits" else "")
            said.append(", ".join(filter(None, parts)))
    return "; ".join(dict.fromkeys(said))


def _value(record: Record, metric: str) -> float | None:
    found = record.metrics.get(metric)
    return None if found is None else found.value


def _gain(record: Record, plain: str, views: str) -> float:
    before, after = _value(record, plain), _value(record, views)
    assert before is not None, "only records with both are asked"
    assert after is not None, "only records with both are asked"
    return after - before


def _seconds(records: Iterable[Record], name: str) -> float | None:
    return mean(record.cost.get(name) for record in records)


def _times(records: Sequence[Record]) -> float | None:
    plain, views = (_seconds(records, name) for name in (PLAIN_SECONDS, VIEWS_SECONDS))
    return views / plain if plain and views is not None else None
