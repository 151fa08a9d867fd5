"""The table of what each backbone costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eval.intervals import Interval, interval
from eval.sections.common_seeds import of_seeds
from eval.sections.material import Material
from eval.sections.prices import Price, Speeds
from eval.sections.section import Cell, Grid, number
from eval.sections.work import FORMULA, macs
from eval.summary import Row
from eval.tables import duration
from eval.text import in_one_line


def cost_grid(material: Material, prices: Sequence[Price], speeds: Mapping[str, Speeds]) -> Grid:
    """speeds: at 224 and at detection's size, in this order."""
    memory = _forward_memory(material)
    asked = len(material.table.seeds)
    work = any(price.currency == "work" for price in prices)
    most = max((len(price.pretraining) for price in prices), default=0)
    tuned = max((_tuned_seeds(price) for price in prices), default=0)
    rows = []
    for price in prices:
        cost = price.row.cost
        parameters = cost.get("parameters")
        rows.append(
            (
                Cell(text=in_one_line(price.name)),
                number(None if parameters is None else parameters / 1e6, 2),
                _gmacs_cell(price.row),
                *(_speed_cell(of.get(price.architecture)) for of in speeds.values()),
                number(memory.get(price.name), 0),
                number(cost.get("peak_memory_mb"), 0),
                _iterations_cell(price),
                _work_cell(price) if work else number(None),
                _pretraining_cell(price, most, asked),
                number(None)
                if price.teacher is None
                else Cell(text=duration(price.teacher), sort=price.teacher),
                _fine_tuning_cell(price, tuned, asked),
            )
        )
    header = (
        "backbone",
        "parameters (M)",
        "GMACs",
        "images/s at 224",
        "images/s at detection's size",
        "forward memory (MiB)",
        "training memory (MiB)",
        "iterations",
        "work",
        "pretraining",
        "its teacher",
        "fine-tuning",
    )
    # What was measured for no row would be a column of dashes.
    kept = [place for place in range(len(header)) if any(row[place].text != "–" for row in rows)]
    shown = {header[place] for place in kept}
    notes = [
        "Times are means over seeds on the machines that the records name; “1 of 3 seeds” "
        "stands where there are fewer than of other rows. A teacher is trained once for all "
        "seeds and stands apart."
    ]
    if any(name.startswith("images/s") for name in shown):
        notes.append(
            "images/s: forward pass of the backbone alone, the mean over all measurements of its "
            "architecture, since the weights do not matter."
        )
    if "forward memory (MiB)" in shown:
        notes.append("Forward memory: the most that the tensors of one forward pass at 224 take.")
    if work:
        notes.append(f"Iterations: of pretraining. {FORMULA}")
    return Grid(
        caption="What each backbone costs",
        header=tuple(header[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        notes=tuple(notes),
    )


def _forward_memory(material: Material) -> dict[str, float]:
    """By backbone, in MiB."""
    return {
        record.backbone: record.cost["forward_memory_mb_224"]
        for record in material.of_task("speed")
        if "forward_memory_mb_224" in record.cost
    }


def _gmacs_cell(row: Row) -> Cell:
    cell, side = number(row.cost.get("gmacs"), 2), row.cost.get("gmacs_image_size")
    if side is None or cell.sort is None:
        return cell
    return Cell(text=cell.text, sort=cell.sort, detail=f"of one image of {side:.0f} pixels")


def _speed_cell(speed: Interval | None) -> Cell:
    if speed is None:
        return number(None)
    cell = number(speed.mean, 0 if speed.mean >= 100 else 1)
    detail = f"{speed.n} measurement{'' if speed.n == 1 else 's'}"
    if speed.std is not None:
        detail += f", standard deviation {speed.std:.1f}"
    return Cell(text=cell.text, sort=cell.sort, detail=detail)


def _pretraining_cell(price: Price, most: int, asked: int) -> Cell:
    mean = interval(list(price.pretraining.values()))
    if mean is None:
        return number(None)
    few = f" ({of_seeds(mean.n, asked)})" if mean.n < most else ""
    told = "; ".join(
        f"seed {seed}: {duration(price.pretraining[seed])}" for seed in sorted(price.pretraining)
    )
    return Cell(text=f"{duration(mean.mean)}{few}", sort=mean.mean, detail=told)


def _iterations_cell(price: Price) -> Cell:
    """Of its pretraining: the mean over seeds, which have the same."""
    mean = interval(list(price.iterations.values()))
    return number(None if mean is None else mean.mean, 0)


def _work_cell(price: Price) -> Cell:
    if (spent := price.until_weights()) is None:
        return number(None)
    teacher = price.spent_on_teacher
    detail = "" if teacher is None else f"{macs(teacher)} of them for its teacher's own training"
    return Cell(text=macs(spent), sort=spent, detail=detail)


def _tuned_seeds(price: Price) -> int:
    return min((mean.n for mean in price.fine_tuning.values()), default=0)


def _fine_tuning_cell(price: Price, most: int, asked: int) -> Cell:
    if not price.fine_tuning:
        return number(None)
    total, seeds = sum(mean.mean for mean in price.fine_tuning.values()), _tuned_seeds(price)
    few = f" ({of_seeds(seeds, asked)})" if seeds < most else ""
    told = "; ".join(
        f"{task}: {duration(mean.mean)} over {mean.n} seed{'' if mean.n == 1 else 's'}"
        for task, mean in price.fine_tuning.items()
    )
    return Cell(text=f"{duration(total)}{few}", sort=total, detail=told)
