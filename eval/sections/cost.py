"""What each backbone costs, to train and to run, beside what it gains."""

from __future__ import annotations

from collections.abc import Sequence

from eval.intervals import interval
from eval.sections.by_backbone import named
from eval.sections.classifiers import by_backbone
from eval.sections.common_seeds import by_seed
from eval.sections.cost_grid import cost_grid
from eval.sections.material import Material
from eval.sections.points_per_hour import gain_grid
from eval.sections.prices import (
    SCORES,
    Price,
    Speeds,
    machines_of,
    prices_of,
    speeds_of,
)
from eval.sections.score_over_cost import RULE, trade
from eval.sections.section import Block, Paragraph, Section
from eval.sections.work import macs, step_times
from eval.tables import duration
from eval.teachers import teacher_of
from eval.text import in_one_line


def section(material: Material) -> Section | None:
    """None for a table without rows."""
    if not material.table.rows:
        return None
    prices = prices_of(material)
    speeds = {size: speeds_of(material, prices, size) for size in ("224", "detection")}
    values = {metric: by_seed(material.records, task, metric) for metric, task in SCORES.items()}
    trades = [trade(material, prices, speeds["224"], values[m], m) for m in SCORES]
    plots = [found.plot for found in trades if found.plot is not None]
    gains = gain_grid(material, prices, values)
    blocks: list[Block] = [
        cost_grid(material, prices, speeds),
        *([gains] if gains is not None else []),
        *plots,
        *([Paragraph(text=RULE)] if plots else []),
    ]
    left_out = _left_out(material, prices, speeds["224"])
    left_out += [said for found in trades for said in found.missing]
    return Section(
        key="cost",
        title="Cost beside gain",
        lead=" ".join(
            [*(found.lead for found in trades if found.lead), _training_lead(material, prices)]
        ),
        blocks=tuple(blocks),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _training_lead(material: Material, prices: Sequence[Price]) -> str:
    known = [(time, price) for price in prices if (time := price.until_weights()) is not None]
    steps = step_times(material.records)
    if steps is not None:
        return _work_lead(steps, known)
    if not known and (tuned := _tuning_lead(material)):
        return tuned
    if not known:
        return "No backbone of this table was trained here, so that its training has no cost."
    low, _ = min(known, key=lambda item: item[0])
    high, most = max(known, key=lambda item: item[0])
    if len(known) == 1:
        return f"Pretraining {in_one_line(most.name)} took {duration(high)}."
    taught = ", its teacher included" if most.teacher else ""
    return (
        f"Pretraining takes from {duration(low)} to {duration(high)} "
        f"({in_one_line(most.name)}{taught})."
    )


def _tuning_lead(material: Material) -> str:
    """Of fine-tunings of backbones that were not pretrained here; empty for none."""
    rows = by_backbone(material.of_task("finetune"))
    times = {
        name: mean
        for name, records in rows.items()
        if (mean := interval([r.cost["seconds"] for r in records if "seconds" in r.cost]))
    }
    if not times:
        return ""
    low, high = (pick(times, key=lambda name: times[name].mean) for pick in (min, max))
    if low == high:
        return f"Fine-tuning {in_one_line(low)} took {duration(times[low].mean)}."
    return (
        f"Fine-tuning takes from {duration(times[low].mean)} ({in_one_line(low)}) to "
        f"{duration(times[high].mean)} ({in_one_line(high)})."
    )


def _work_lead(steps: tuple[float, float], known: Sequence[tuple[float, Price]]) -> str:
    """steps: see `step_times`. known: work and row."""
    said = (
        "The times of pretraining are not comparable: the same step took "
        f"{steps[0]:.2g} to {steps[1]:.2g} s. The work counts in their place"
    )
    if not known:
        return f"{said}, and is not known of any row."
    low, _ = min(known, key=lambda item: item[0])
    high, most = max(known, key=lambda item: item[0])
    if low == high:
        return f"{said}: {macs(high)} each."
    taught = ", its teacher included" if most.spent_on_teacher else ""
    return f"{said}: {macs(low)} to {macs(high)} ({in_one_line(most.name)}{taught})."


def _left_out(material: Material, prices: Sequence[Price], speeds: Speeds) -> list[str]:
    said = []
    timed = material.of_task("speed")
    if not timed:
        said.append("No speed was measured; `--tasks speed` measures it in seconds a backbone.")
    elif unknown := sorted({p.architecture for p in prices} - set(speeds)):
        said.append(f"No speed at 224: {named(unknown)}.")
    if (count := machines_of(timed)) > 1:
        said.append(
            f"Speeds come from {count} different machines or numbers of threads: they cannot be "
            "compared with each other."
        )
    if (count := machines_of(material.of_task("classification"))) > 1:
        said.append(
            f"Pretraining times come from {count} different machines or numbers of threads: what "
            "they differ by is the machines', too."
        )
    taught = {record.backbone for record in material.records if teacher_of(record) is not None}
    if unknown := [p.name for p in prices if p.spent_on_teacher is None and p.name in taught]:
        work = any(price.currency == "work" for price in prices)
        what = "work" if work else "time"
        lacks = "so that there is no sum" if work else "and not in the sum"
        said.append(f"The {what} of the teacher is not known, {lacks}: {named(unknown)}.")
    return said
