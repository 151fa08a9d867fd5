"""What the benches measured (docs/bench/NAME.json), beside what was aimed at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import spread

FOLDER = Path("docs/bench")
COMMAND = "make bench"

TARGETS: dict[str, dict[str, float | None]] = {
    "input": {
        "timm_crop_flip": 2.0,
        "decode_floor": 0.8,
        "torchvision_paper_aug": 2.0,
        "timm_randaugment": 1.5,
    },
    "train_step": {"timm_default": 1.3, "timm_best": 1.0},
    "pretrain_epoch": {"timm": None, "timm_best": None, "torchvision": None},
    "distill": {"plain_teacher": None},
    "detection": {"mmdet": 1.2},
    "segmentation": {"mmseg": 1.2},
    "scoring": {"pycocotools": 5.0, "mmdet_voc": 3.0, "mmseg_iou": 3.0},
    "ray_executor": {"ideal": 0.9},
    "frozen_head": {"full_step": 5.0},
    "cli": {},
    "growth": {},
    "report": {},
}
"""Trickle's rate over the peer's, at least; None: measured without a number to reach. The peer of
ray_executor is no program but the jobs' own time, shared evenly among the nodes."""

SECONDS = {"help": 0.3, "list": 0.3, "nothing_to_do": 2.0}
"""Of bench/cli.py's commands, at most."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """ratio: None where it was not measured; quartiles: of the rounds' ratios, where known."""

    bench: str
    peer: str
    ratio: float | None
    quartiles: tuple[float, float] | None
    target: float | None

    @property
    def met(self) -> bool | None:
        """None without a target or a measurement."""
        if self.ratio is None or self.target is None:
            return None
        return self.ratio >= self.target


def read_benches(root: Path) -> dict[str, dict[str, Any]]:
    """Each bench's JSON by its name, in the order of TARGETS; what is not there is left out."""
    files = {name: root / FOLDER / f"{name}.json" for name in TARGETS}
    return {
        name: json.loads(file.read_text(encoding="utf-8"))
        for name, file in files.items()
        if file.is_file()
    }


def results(benches: Mapping[str, Mapping[str, Any]]) -> list[Result]:
    """A line for every peer that there is or should be."""
    found = []
    for bench, targets in TARGETS.items():
        ratios = benches.get(bench, {}).get("ratios", {})
        for peer in dict.fromkeys([*targets, *ratios]):
            ratio = ratios.get(peer)
            raw = benches.get(bench, {}).get("raw", {})
            found.append(
                Result(
                    bench=bench,
                    peer=peer,
                    ratio=ratio,
                    quartiles=None if ratio is None else _quartiles(raw, peer, ratio),
                    target=targets.get(peer),
                )
            )
    return found


def _quartiles(raw: Mapping[str, Any], peer: str, ratio: float) -> tuple[float, float] | None:
    """Those that stand in `raw` beside this ratio under the peer's name (or `PEER_SIZE`), at any
    depth; else of the rounds' seconds."""
    for entry in _dicts(raw):
        for name, found in entry.items():
            if not name.startswith(peer) or not isinstance(found, Mapping):
                continue
            if found.get("ratio") == ratio and {"q1", "q3"} <= found.keys():
                return found["q1"], found["q3"]
    seconds = raw.get("seconds", {})
    if {"trickle", peer} <= seconds.keys():
        measured = spread(seconds, "trickle", peer)
        return measured["q1"], measured["q3"]
    return None


def _dicts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _dicts(part)
