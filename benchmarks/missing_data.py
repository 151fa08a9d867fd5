"""Which data sets of a benchmark are not there, and what makes them: one text for every command."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from benchmarks.errors import DataError
from benchmarks.labelled_files import LAYOUTS
from benchmarks.official.releases import RELEASES
from benchmarks.packaged import PACKAGED
from benchmarks.schema import Benchmark

_TO_DOWNLOAD = {
    "coco": (
        "train2017/, val2017/ and annotations/instances_train2017.json, instances_val2017.json, "
        "from https://cocodataset.org/#download"
    ),
    "cityscapes": (
        "leftImg8bit/ and gtFine/, as leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip "
        "have them, from https://www.cityscapes-dataset.com/downloads/"
    ),
}
"""By layout, what no verb prepares."""
_HOLDS = {
    "imagenet": "train/<class>/*.JPEG and val/<class>/*.JPEG",
    "voc": "<year>/Annotations, <year>/ImageSets/Main and <year>/JPEGImages",
    "ade20k": "images/ and annotations/, each with training/ and validation/",
    **_TO_DOWNLOAD,
}
"""By layout."""
_OWN = {
    "folder": f"it should hold {LAYOUTS}; or let root name a .csv file with columns path and label",
    "file": "it should hold a row for each image, below the header path,label",
    "unlabelled": "it should hold images without labels; or leave unlabelled out",
}
"""What `[finetune]` names."""


def missing_data(benchmark: Benchmark, *, stages: Iterable[str] | None = None) -> list[str]:
    """A line for each folder or list of data that is not there; none for rendered data. stages:
    all."""
    if benchmark.world is not None:
        return []
    lines = []
    for stage in benchmark.stages if stages is None else stages:
        budget = getattr(benchmark, stage)
        for key, place in budget.places().items():
            is_list = key == "root" and budget.folder != place
            if not (place.is_file() if is_list else place.is_dir()):
                what = "file" if is_list else "folder"
                remedy = _remedy(benchmark, stage, place)
                if stage == "finetune":
                    remedy = _OWN["unlabelled" if key == "unlabelled" else what]
                lines.append(f"no {what} {place}, for {stage}: {remedy}")
    return lines


def elsewhere(benchmark: Benchmark) -> str:
    """How the benchmark is told that its data lies in another folder."""
    if benchmark.name not in PACKAGED:
        return f"Or let each root in the file of benchmark {benchmark.name} name another folder"
    default = "" if os.environ.get("TRICKLE_DATA") else "This folder is only the default: "
    return f"{default}TRICKLE_DATA=DIR names the folder that holds all data sets"


def require_data(benchmark: Benchmark) -> None:
    """DataError with all of `missing_data`, and `elsewhere`."""
    if lines := missing_data(benchmark):
        said = "\n".join([*lines, elsewhere(benchmark)])
        raise DataError(f"the data of benchmark {benchmark.name}: {said}")


def _remedy(benchmark: Benchmark, stage: str, root: Path) -> str:
    layout = getattr(getattr(benchmark, stage), "layout", "imagenet")
    holds = f"it should hold {_HOLDS.get(layout, 'the data set')}"
    release = next((r for r in RELEASES.values() if r.folder == root.name), None)
    if release is not None:
        verb = f"trickle prepare {release.dataset} --from DIR --to {root.parent}"
        return verb if benchmark.name in PACKAGED else f"{holds}; {verb}"
    return holds
