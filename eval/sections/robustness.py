"""What is left of a classifier under attacks, corruptions and label noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eval.intervals import Interval, interval
from eval.records import Record
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
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.text import in_one_line

_METRICS = {
    "clean_top1": "clean",
    "fgsm_top1": "FGSM",
    "ifgsm_top1": "iterative FGSM",
    "corruption_top1": "corruptions",
}
_MOST_ROWS = 30
_MOST_WRITTEN = 14
"""Rows of the plot in whose fields the numbers stand, too."""
_LONGEST_LABEL = 28

Values = Mapping[str, Mapping[int, float]]
"""backbone -> seed -> percent."""


def section(material: Material) -> Section | None:
    """None where no robustness was measured, and no labels are noisy."""
    measured = material.of_task("robustness")
    noisy = _noise(material)
    if not measured and not noisy:
        return None
    values = {metric: _by_seed(measured, metric) for metric in _METRICS}
    names = list(dict.fromkeys(record.backbone for record in measured))
    blocks: list[Block] = []
    left_out: list[str] = []
    lead = "No classifier was attacked or corrupted here; `--tasks robustness` does that."
    if names:
        of = references(material, "robustness", names)
        blocks.append(_value_grid(names, values, measured))
        changes = _judged(values, of)
        reference = reference_of({name for found in changes.values() for name in found}, of)
        lead = _lead(values, changes, reference)
        if any(changes.values()):
            blocks.append(_difference_grid(names, changes, reference))
        plot, missing = _corruption_plot(measured)
        blocks += [plot] if plot is not None else []
        left_out += missing + _left_out(material, names)
    if noisy:
        blocks.append(_noise_grid(noisy))
    return Section(
        key="robustness",
        title="Robustness of the classifiers",
        lead=lead,
        blocks=tuple(blocks),
        left_out=tuple(left_out),
    )


def _by_seed(records: Iterable[Record], metric: str) -> Values:
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if metric in record.metrics and (value := record.metrics[metric].value) is not None:
            found[record.backbone][record.seed] = value
    return found


def _value_grid(
    names: Sequence[str], values: Mapping[str, Values], records: Sequence[Record]
) -> Grid:
    details = _details(records)
    rows = [
        (
            Cell(text=in_one_line(name)),
            *(
                _mean_cell(values[metric].get(name), details.get((name, metric), ""))
                for metric in _METRICS
            ),
        )
        for name in names
    ]
    images = max(
        (r.metrics["clean_top1"].n for r in records if "clean_top1" in r.metrics), default=0
    )
    return Grid(
        caption="Top-1 in percent of the same validation images, as they are and changed",
        header=("backbone", *_METRICS.values()),
        rows=tuple(rows),
        notes=(
            f"Over {images} images; mean over seeds and half of its 95% interval. FGSM and "
            "iterative FGSM (10 steps) change each pixel by at most 4 levels of 255, knowing the "
            "network. Corruptions: the mean over kinds and severities.",
        ),
    )


def _mean_cell(by_seed: Mapping[int, float] | None, detail: str) -> Cell:
    mean = interval(list((by_seed or {}).values()))
    if mean is None:
        return number(None)
    text = f"{mean.mean:.1f}"
    if mean.ci95 is not None:
        text += f" ± {(mean.ci95[1] - mean.ci95[0]) / 2:.1f}"
    return Cell(text=text, sort=mean.mean, detail=detail)


def _details(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """(backbone, metric) -> means over seeds of what it consists of, or was tried with besides."""
    kinds = {
        "fgsm_top1": ("fgsm_top1", "change of at most "),
        "corruption_top1": ("corruption_top1_by_level", "severity "),
    }
    found = {}
    for metric, (key, word) in kinds.items():
        for name, parts in _means_of_parts(records, key).items():
            said = ", ".join(f"{word}{part}: {value:.1f}" for part, value in parts.items())
            found[name, metric] = in_one_line(said)
    return found


def _means_of_parts(records: Iterable[Record], key: str) -> dict[str, dict[str, float]]:
    """backbone -> part -> mean over seeds of a metric's parts."""
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for part, value in record.per_class.get(key, {}).items():
            if value is not None:
                collected[record.backbone][part].append(value)
    return {
        name: {part: math.fsum(values) / len(values) for part, values in parts.items()}
        for name, parts in collected.items()
    }


Judged = Mapping[str, Mapping[str, Difference]]
"""metric -> backbone -> difference to the row it is compared with."""


def _judged(values: Mapping[str, Values], of: Mapping[str, str | None]) -> Judged:
    """p-values are corrected over the backbones, for each metric apart (Holm)."""
    found = {}
    for metric in _METRICS:
        by_seed = {
            name: {seed: {"": value} for seed, value in seeds.items()}
            for name, seeds in values[metric].items()
        }
        found[metric] = judged(
            {
                name: common(by_seed[name], by_seed[other]).get("", [])
                for name in by_seed
                if (other := of[name]) in by_seed and other != name
            }
        )
    return found


def _difference_grid(names: Sequence[str], changes: Judged, reference: str) -> Grid:
    compared = [name for name in names if any(name in changes[metric] for metric in _METRICS)]
    every = [found for of in changes.values() for found in of.values()]
    return Grid(
        caption=f"Differences to {reference}, in points, over the seeds that both have",
        header=("backbone", *_METRICS.values()),
        rows=tuple(
            (
                Cell(text=in_one_line(name)),
                *(difference_cell(changes[metric].get(name)) for metric in _METRICS),
            )
            for name in compared
        ),
        notes=(f"{how_measured(every)}. {BEYOND_CHANCE} the rows, for each column apart.",),
    )


def _lead(values: Mapping[str, Values], changes: Judged, reference: str) -> str:
    said = []
    for metric, what in _METRICS.items():
        if metric == "clean_top1":
            continue
        means = {
            name: mean.mean
            for name, by_seed in values[metric].items()
            if (mean := interval(list(by_seed.values()))) is not None
        }
        if not means:
            continue
        best = max(means, key=lambda name: means[name])
        kept = f"under {what} {in_one_line(best)} keeps the most, {means[best]:.1f}%"
        if len(means) == 1:
            kept = f"under {what} {means[best]:.1f}% is left"
        found = changes[metric].values()
        sure = [each.mean for each in found if each.sure]
        counts = {"better": sum(mean > 0 for mean in sure), "worse": sum(mean < 0 for mean in sure)}
        for word, count in counts.items():
            if count:
                kept += f"; {count} of {len(found)} {'is' if count == 1 else 'are'} {word}"
        if found and not sure:
            kept += f"; {none_differs(found)}"
        said.append(kept)
    compared = f" (compared with {reference})" if any(changes.values()) else ""
    text = ". ".join(f"{part[0].upper()}{part[1:]}" for part in said)
    return f"{text}{compared}." if text else "No robustness could be read from the records."


def _corruption_plot(records: Sequence[Record]) -> tuple[Plot | None, list[str]]:
    parts = _means_of_parts(records, "corruption_top1")
    if not parts:
        return None, ["No record says how each corruption did."]
    kinds = list(dict.fromkeys(kind for of in parts.values() for kind in of))
    order = sorted(parts, key=lambda name: -math.fsum(parts[name].values()) / len(parts[name]))
    shown = order[:_MOST_ROWS]
    lost = len(order) - len(shown)
    left_out = [f"The plot shows the best {_MOST_ROWS} of {len(order)} backbones."] if lost else []
    average = {
        kind: math.fsum(found) / len(found)
        for kind in kinds
        if (found := [parts[name][kind] for name in shown if kind in parts[name]])
    }
    hardest = min(average, key=lambda kind: average[kind])
    plot = Plot(
        caption="Top-1 by corruption, mean over severities and seeds; the best backbone above",
        alt=f"Heat map of top-1 of {len(shown)} backbones under {len(kinds)} corruptions. Hardest "
        f"on average: {_spoken(hardest)} ({average[hardest]:.1f}%).",
        draw=_draw_heat_map({name: parts[name] for name in shown}, kinds),
        size=(8.4, 1.9 + 0.3 * len(shown)),
    )
    return plot, left_out


def _draw_heat_map(
    parts: Mapping[str, Mapping[str, float]], kinds: Sequence[str]
) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        rows = [[of.get(kind, math.nan) for kind in kinds] for of in parts.values()]
        image = axes.imshow(rows, aspect="auto", vmin=0, vmax=100, cmap="viridis")
        axes.set_xticks(
            range(len(kinds)), [_spoken(kind) for kind in kinds], rotation=40, ha="right"
        )
        axes.set_yticks(range(len(parts)), [_short(name) for name in parts], fontsize=8)
        figure.colorbar(image, ax=axes, label="top-1 (%)")
        if len(parts) > _MOST_WRITTEN:
            return
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                if not math.isnan(value):
                    ink = "black" if value > 55 else "white"
                    axes.text(x, y, f"{value:.0f}", ha="center", va="center", color=ink, size=8)

    return draw


def _spoken(kind: str) -> str:
    return in_one_line(kind.replace("_", " ")).replace("jpeg", "JPEG")


def _short(name: str) -> str:
    name = in_one_line(name)
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"


def _noise(material: Material) -> list[tuple[float, str, Interval]]:
    """(share of noisy labels, backbone, top-1) of the rows that were trained with label noise."""
    shares: dict[str, float] = {}
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for record in material.of_task("classification"):
        share = _noisy_share(record)
        top1 = record.metrics.get("top1")
        if share is not None and top1 is not None and top1.value is not None:
            shares[record.backbone] = share
            values[record.backbone][record.seed] = top1.value
    found = [
        (shares[name], name, mean)
        for name, by_seed in values.items()
        if (mean := interval(list(by_seed.values()))) is not None
    ]
    return sorted(found, key=lambda row: (row[0], -row[2].mean, row[1]))


def _noisy_share(record: Record) -> float | None:
    found: object = record.protocol
    for key in ("recipe", "tricks", "label_noise", "fraction"):
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _noise_grid(noisy: Sequence[tuple[float, str, Interval]]) -> Grid:
    rows = []
    for share, name, mean in noisy:
        half = "" if mean.ci95 is None else f" ± {(mean.ci95[1] - mean.ci95[0]) / 2:.1f}"
        rows.append(
            (
                Cell(text=in_one_line(name)),
                Cell(text=f"{100 * share:g}%", sort=share),
                Cell(text=f"{mean.mean:.1f}{half}", sort=mean.mean, detail=f"{mean.n} seed(s)"),
            )
        )
    return Grid(
        caption="Trained with random labels: top-1 on validation images, whose labels are right",
        header=("backbone", "random labels", "top-1 of the last epoch"),
        rows=tuple(rows),
        notes=("As in mixup (arXiv:1710.09412), section 3.4.",),
    )


def _left_out(material: Material, names: Sequence[str]) -> list[str]:
    trained = dict.fromkeys(record.backbone for record in material.of_task("classification"))
    missing = [in_one_line(name) for name in trained if name not in names]
    if not missing:
        return []
    return [f"Not measured: {', '.join(missing[:5])}{' and more' if len(missing) > 5 else ''}."]
