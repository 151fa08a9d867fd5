"""The work of a pretraining, which stands for its time where times cannot be compared.

A machine that does other things at once makes the same step take longer; what it computes is the
same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from eval.records import Record

_SCATTER = 1.5
"""Times of one step that differ by more are of machines that did other things, too."""
_TRAINING = 3
"""Forward, and backward by the inputs and by the weights."""
FORMULA = (
    "Work: iterations × images per batch × multiply-adds of the network for one image of the "
    "training's size × 3 (forward and backward); a teacher adds its forward pass of the same "
    "images, and its own training."
)


def step_times(records: Iterable[Record]) -> tuple[float, float] | None:
    """Seconds of the fastest and of the slowest of equal steps, where they cannot be compared.

    Equal: of one architecture without a teacher, of one precision, batch and image size. Of several
    such groups the one that scatters most; None where none scatters by more than half.
    """
    groups: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for record in records:
        cost = record.cost
        if record.task != "classification" or record.status != "ok" or _is_taught(record):
            continue
        if (images := _images_per_step(record)) is None or not cost.get("seconds"):
            continue
        architecture = record.control or record.backbone
        key = architecture, record.environment.get("precision"), images, _side(record)
        groups[key].append(cost["seconds"] / cost["iterations"])
    ranges = [(min(group), max(group)) for group in groups.values()]
    widest = max(ranges, key=lambda pair: pair[1] / pair[0], default=None)
    return widest if widest is not None and widest[1] > _SCATTER * widest[0] else None


def work_of(record: Record) -> float | None:
    """Multiply-adds of a pretraining, without a teacher's; None where something is not known."""
    forward = _forward(record, record)
    return None if forward is None else _TRAINING * forward


def teachers_forward(student: Record, teacher: Record) -> float | None:
    """Multiply-adds of the teacher while the student is trained."""
    return _forward(student, teacher)


def _forward(trained: Record, network: Record) -> float | None:
    images, gmacs = _images_per_step(trained), network.cost.get("backbone_gmacs")
    if images is None or gmacs is None:
        return None
    # Those of convolutions are as many as there are pixels.
    size = network.cost.get("backbone_gmacs_image_size", 224.0)
    scale = ((_side(trained) or size) / size) ** 2
    return float(trained.cost["iterations"] * images * gmacs * 1e9 * scale)


def _images_per_step(record: Record) -> int | None:
    """None where it is not known, or how many steps there were."""
    batch = _number(record.protocol.get("recipe"), "batch_size")
    scale = _number(record.protocol.get("budget"), "batch_size_scale")
    if batch is None or not record.cost.get("iterations"):
        return None
    return max(2, round(batch * (1.0 if scale is None else scale)))


def _side(record: Record) -> float | None:
    """Of the images, in pixels."""
    return _number(record.protocol.get("budget"), "image_size") or None


def _number(of: object, name: str) -> float | None:
    found: Any = of.get(name) if isinstance(of, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def _is_taught(record: Record) -> bool:
    recipe = record.protocol.get("recipe")
    tricks = recipe.get("tricks") if isinstance(recipe, Mapping) else None
    return isinstance(tricks, Mapping) and "distillation" in tricks


def macs(number: float) -> str:
    """2e12 -> `2 tera-MACs`."""
    name, size = unit_of(number)
    return f"{number / size:.3g} {name}"


def unit_of(most: float) -> tuple[str, float]:
    """(its name, multiply-adds in it), of amounts up to `most`."""
    for name, size in (("exa-MACs", 1e18), ("peta-MACs", 1e15), ("tera-MACs", 1e12)):
        if most >= size:
            return name, size
    return "giga-MACs", 1e9
