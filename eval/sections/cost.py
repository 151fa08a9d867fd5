"""What each backbone costs, to train and to run, beside what it gains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eval.intervals import Interval, interval, paired_difference
from eval.records import Record
from eval.sections.material import Material
from eval.sections.pareto import PricedPoint, draw_front, pareto_front
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.summary import Row
from eval.tables import duration
from eval.text import in_one_line

_SCORES = {"mAP": "detection", "mIoU": "segmentation"}
_HOUR = 3600
_LEAST_EXTRA = 0.02
"""Share of the reference's time: a smaller difference between two trainings is the machine's."""
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Price:
    """One row. Times in seconds, means over seeds; None where not known.

    reference: the first trained row of the same control; None for itself and for what is not
    trained here. teacher: of its teacher, which all seeds share: counted once.
    """

    row: Row
    architecture: str
    reference: str | None
    pretraining: float | None
    teacher: float | None
    fine_tuning: float | None

    @property
    def until_weights(self) -> float | None:
        """Pretraining with the teacher's."""
        return None if self.pretraining is None else self.pretraining + (self.teacher or 0.0)


Speeds = Mapping[str, Interval]
"""By architecture: images/s over the measurements of all its rows, whose weights do not matter."""


def section(material: Material) -> Section | None:
    """None for a table without rows."""
    if not material.table.rows:
        return None
    prices = _prices(material)
    speeds = {name: _speeds(material, prices, name) for name in ("224", "detection")}
    memory = _forward_memory(material)
    values = {metric: _by_seed(material.of_task(task), metric) for metric, task in _SCORES.items()}
    blocks: list[Block] = [_cost_grid(prices, speeds, memory)]
    gains = _gain_grid(prices, values)
    blocks += [gains] if gains is not None else []
    left_out = _left_out(material, prices, speeds["224"])
    leads = []
    for metric in _SCORES:
        plot, lead, missing = _trade(prices, speeds["224"], metric)
        blocks += [plot] if plot is not None else []
        leads += [lead] if lead else []
        left_out += missing
    return Section(
        key="cost",
        title="Cost beside gain",
        lead=" ".join([*leads, _training_lead(prices)]),
        blocks=tuple(blocks),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def _prices(material: Material) -> list[Price]:
    by_row: dict[str, list[Record]] = defaultdict(list)
    for record in material.records:
        if record.status == "ok":
            by_row[record.backbone].append(record)
    trainings = {
        name: interval(_costs(records, "classification", "seconds"))
        for name, records in by_row.items()
    }
    first: dict[str, str] = {}
    prices = []
    for row in material.table.rows:
        name = row.name.backbone
        records = by_row.get(name, [])
        pretraining = trainings.get(name)
        architecture = row.name.control or name
        reference = None
        if pretraining is not None:
            reference = first.setdefault(architecture, name)
        prices.append(
            Price(
                row=row,
                architecture=architecture,
                reference=None if reference == name else reference,
                pretraining=None if pretraining is None else pretraining.mean,
                teacher=_teacher_seconds(records, trainings),
                fine_tuning=_fine_tuning(records),
            )
        )
    return prices


def _costs(records: Iterable[Record], task: str, key: str) -> list[float]:
    return [r.cost[key] for r in records if r.task == task and key in r.cost]


def _teacher_seconds(
    records: Sequence[Record], trainings: Mapping[str, Interval | None]
) -> float | None:
    """Of the teacher's training: what the student's record says, else the teacher's own row."""
    found = _costs(records, "classification", "teacher_seconds")
    if found:
        return max(found)
    name = next((teacher for r in records if (teacher := _teacher_of(r)) is not None), None)
    own = trainings.get(name) if name is not None else None
    return None if own is None else own.mean


def _teacher_of(record: Record) -> str | None:
    """The name that a pretraining's recipe gives its teacher."""
    found: object = record.protocol if record.task == "classification" else None
    for key in ("recipe", "tricks", "distillation", "teacher"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def _fine_tuning(records: Sequence[Record]) -> float | None:
    """Of the fine-tunings that there are, each a mean over seeds."""
    means = [interval(_costs(records, task, "seconds")) for task in _SCORES.values()]
    known = [mean.mean for mean in means if mean is not None]
    return sum(known) if known else None


def _speeds(material: Material, prices: Sequence[Price], size: str) -> Speeds:
    architecture = {price.row.name.backbone: price.architecture for price in prices}
    found: dict[str, list[float]] = defaultdict(list)
    for record in material.of_task("speed"):
        metric = record.metrics.get(f"images_per_second_{size}")
        if record.backbone in architecture and metric is not None and metric.value is not None:
            found[architecture[record.backbone]].append(metric.value)
    return {name: mean for name, values in found.items() if (mean := interval(values)) is not None}


def _forward_memory(material: Material) -> dict[str, float]:
    """By backbone, in MiB."""
    return {
        record.backbone: record.cost["forward_memory_mb_224"]
        for record in material.of_task("speed")
        if "forward_memory_mb_224" in record.cost
    }


def _by_seed(records: Iterable[Record], metric: str) -> dict[str, dict[int, float]]:
    """backbone -> seed -> value."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if metric in record.metrics and (value := record.metrics[metric].value) is not None:
            found[record.backbone][record.seed] = value
    return found


def _cost_grid(
    prices: Sequence[Price], speeds: Mapping[str, Speeds], memory: Mapping[str, float]
) -> Grid:
    rows = []
    for price in prices:
        cost = price.row.cost
        parameters = cost.get("parameters")
        rows.append(
            (
                _name_cell(price.row),
                number(None if parameters is None else parameters / 1e6, 2),
                _gmacs_cell(price.row),
                *(_speed_cell(speeds[size].get(price.architecture)) for size in speeds),
                number(memory.get(price.row.name.backbone), 0),
                number(cost.get("peak_memory_mb"), 0),
                _time_cell(price.pretraining),
                _time_cell(price.teacher),
                _time_cell(price.fine_tuning),
            )
        )
    return Grid(
        caption="What each backbone costs",
        header=(
            "backbone",
            "parameters (M)",
            "GMACs",
            "images/s at 224",
            "images/s at detection's size",
            "forward memory (MiB)",
            "training memory (MiB)",
            "pretraining",
            "its teacher",
            "fine-tuning",
        ),
        rows=tuple(rows),
        notes=(
            "images/s: forward pass of the backbone alone, the mean over all measurements of its "
            "architecture, since the weights do not matter; forward memory: the most that the "
            "tensors of one such pass at 224 take.",
            "Times are means over seeds on the machines that the records name. A teacher is "
            "trained once for all seeds and stands apart.",
        ),
    )


def _name_cell(row: Row) -> Cell:
    return Cell(text=in_one_line(row.name.backbone))


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


def _time_cell(seconds: float | None) -> Cell:
    return number(None) if seconds is None else Cell(text=duration(seconds), sort=seconds)


def _gain_grid(
    prices: Sequence[Price], values: Mapping[str, Mapping[str, Mapping[int, float]]]
) -> Grid | None:
    """None where no two trained rows can be compared."""
    by_name = {price.row.name.backbone: price for price in prices}
    rows = []
    for price in prices:
        if price.reference is None or price.until_weights is None:
            continue
        reference = by_name[price.reference]
        assert reference.until_weights is not None, "a reference was trained"
        extra = price.until_weights - reference.until_weights
        cells = []
        for metric in _SCORES:
            of = values[metric]
            gain = paired_difference(
                of.get(price.row.name.backbone, {}), of.get(price.reference, {})
            )
            cells += [_gain_cell(gain), _per_hour(gain, extra, reference.until_weights)]
        rows.append(
            (
                _name_cell(price.row),
                Cell(text=in_one_line(price.reference)),
                _extra_cell(extra),
                *cells,
            )
        )
    if not rows:
        return None
    header = [f"{what}" for metric in _SCORES for what in (metric, f"{metric} per extra hour")]
    return Grid(
        caption="What the extra time buys",
        header=("backbone", "against", "extra time", *header),
        rows=tuple(rows),
        notes=(
            "Extra time is of pretraining, the teacher's included. Points are paired by seed; "
            "in brackets where their 95% interval over seeds holds 0, or there is one seed only: "
            "then the rate says nothing sure either.",
            f"No rate is given where the extra time is below {100 * _LEAST_EXTRA:.0f}% of the "
            "reference's: the row costs the same, or less.",
        ),
    )


def _extra_cell(seconds: float) -> Cell:
    sign = "" if round(seconds) == 0 else "-" if seconds < 0 else "+"
    return Cell(text=f"{sign}{duration(abs(seconds))}", sort=seconds)


def _is_sure(gain: Interval) -> bool:
    return gain.ci95 is not None and not gain.ci95[0] <= 0 <= gain.ci95[1]


def _gain_cell(gain: Interval | None) -> Cell:
    if gain is None:
        return number(None)
    cell = number(gain.mean, 1, signed=True)
    detail = f"over {gain.n} seed{'' if gain.n == 1 else 's'}"
    if gain.ci95 is not None:
        detail += f", 95% interval {gain.ci95[0]:+.1f} to {gain.ci95[1]:+.1f}"
    return Cell(text=_bracketed(cell.text, gain), sort=cell.sort, detail=detail)


def _per_hour(gain: Interval | None, extra: float, reference: float) -> Cell:
    if gain is None or extra <= _LEAST_EXTRA * reference or extra <= 0:
        return number(None)
    cell = number(gain.mean / (extra / _HOUR), 1, signed=True)
    return Cell(text=_bracketed(cell.text, gain), sort=cell.sort)


def _bracketed(text: str, gain: Interval) -> str:
    return text if _is_sure(gain) else f"({text})"


def _trade(
    prices: Sequence[Price], speeds: Speeds, metric: str
) -> tuple[Plot | None, str, list[str]]:
    """The plot of a score over speed, or over GMACs where no speed is known; the words that go with
    it, and what is missing in it."""
    scored = {
        price.row.name.backbone: score.value.mean
        for price in prices
        if (score := price.row.metrics.get(metric)) is not None
    }
    if len(scored) < 2:
        return None, "", []
    timed = any(p.row.name.backbone in scored and p.architecture in speeds for p in prices)
    points = []
    for price in prices:
        name = price.row.name.backbone
        speed, gmacs = speeds.get(price.architecture), price.row.cost.get("gmacs")
        rate = (speed.mean if speed else None) if timed else (-gmacs if gmacs else None)
        if name in scored and rate is not None:
            size = price.row.cost.get("parameters")
            points.append(PricedPoint(name=name, rate=rate, score=scored[name], parameters=size))
    missing = [f"{metric}: no plot of score over speed, as neither speed nor GMACs are known."]
    if len(points) < 2:
        return None, "", missing
    what = "images/s" if timed else "GMACs"
    front = [points[i] for i in pareto_front([(p.rate, p.score) for p in points])]
    best = _named([in_one_line(point.name) for point in front])
    lost = len(scored) - len(points)
    left_out = [f"{lost} row(s) without {what} are not in the plot of {metric}."] if lost else []
    sizes = "; the larger a point, the more parameters"
    plot = Plot(
        caption=f"{metric} over {what}{' at 224' if timed else ''}, Pareto front of the means "
        f"marked{sizes}",
        alt=f"Scatter plot of {metric} over {what} of {len(points)} backbones. No other is both "
        f"faster and better than: {best}.",
        draw=draw_front(
            points,
            x="images/s forward at 224" if timed else "GMACs (cheaper to the right)",
            y=f"{metric} (%)",
            shown=(lambda rate: rate) if timed else (lambda rate: -rate),
        ),
        size=(8.0, 4.6),
    )
    cheaper = "faster" if timed else "cheaper in GMACs"
    return plot, f"For {metric} none is both {cheaper} and better than {best}.", left_out


def _named(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"


def _training_lead(prices: Sequence[Price]) -> str:
    known = [(p.until_weights, p) for p in prices if p.until_weights is not None]
    if not known:
        return "No backbone of this table was trained here, so that its training has no cost."
    low, _ = min(known, key=lambda item: item[0])
    high, most = max(known, key=lambda item: item[0])
    if len(known) == 1:
        return f"Pretraining {in_one_line(most.row.name.backbone)} took {duration(high)}."
    taught = ", its teacher included" if most.teacher else ""
    return (
        f"Pretraining takes from {duration(low)} to {duration(high)} "
        f"({in_one_line(most.row.name.backbone)}{taught})."
    )


def _left_out(material: Material, prices: Sequence[Price], speeds: Speeds) -> list[str]:
    said = []
    timed = material.of_task("speed")
    if not timed:
        said.append("No speed was measured; `--tasks speed` measures it in seconds a backbone.")
    elif unknown := sorted({p.architecture for p in prices} - set(speeds)):
        said.append(f"No speed at 224: {_named([in_one_line(name) for name in unknown])}.")
    machines = {
        (r.environment.get("cpu"), r.environment.get("accelerator"), r.environment.get("threads"))
        for r in timed
    }
    if len(machines) > 1:
        said.append(
            f"Speeds come from {len(machines)} different machines or numbers of threads: they "
            "cannot be compared with each other."
        )
    taught = {record.backbone for record in material.records if _teacher_of(record) is not None}
    unknown_teachers = [
        in_one_line(price.row.name.backbone)
        for price in prices
        if price.teacher is None and price.row.name.backbone in taught
    ]
    if unknown_teachers:
        said.append(
            f"The time of the teacher is not known, and not in the sum: {_named(unknown_teachers)}."
        )
    return said
