"""A bootstrap over test images whose p is given, for what only has to pass it on."""

from __future__ import annotations

from collections.abc import Mapping

from eval.image_bootstrap import ByImage
from eval.records import Record

EVERY_ROW = frozenset({"resnet50d_cosine", "resnet50d_smooth", "a", "b", "scratch:resnet50d"})


class DrawnByImage:
    """asked: (metric, row, other row) of the differences. images: the rows whose evidence was
    kept. The mean is that of the records' own numbers."""

    draws = 1000

    def __init__(self, p_value: float) -> None:
        self.p_value = p_value
        self.asked: set[tuple[str, str, str]] = set()
        self.images = set(EVERY_ROW)
        self.problems: Mapping[str, str] = {}

    def difference(
        self, metric: str, own: Mapping[int, Record], other: Mapping[int, Record]
    ) -> ByImage | None:
        shared = sorted(own.keys() & other.keys())
        rows = {record.backbone for of in (own, other) for record in of.values()}
        if not shared or not rows <= self.images:
            return None
        found = []
        for place in shared:
            self.asked.add((metric, own[place].backbone, other[place].backbone))
            mine, others = (of[place].metrics[metric].value for of in (own, other))
            assert mine is not None
            assert others is not None
            found.append(mine - others)
        mean = sum(found) / len(found)
        return ByImage(mean=mean, ci95=(mean - 1, mean + 1), n_images=200, p_value=self.p_value)
