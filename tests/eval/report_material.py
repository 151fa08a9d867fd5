"""Three rows and two seeds as a report's material, and a section with all that one can have."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from engine.results import Metric
from eval.records import Record
from eval.sections.material import Material
from eval.sections.section import Cell, Gallery, Grid, Paragraph, Picture, Plot, Section
from eval.summary import RowName, make_table

PROTOCOL = {"detector": "faster", "budget": {"image_size": [128, 96], "norm_eval": False}}
ROWS = {"resnet50d_mixup": (24.0, 26.0), "resnet50d_cosine": (9.0, 8.0), "scratch:x": (3.0, 5.0)}
"""mAP of seeds 0 and 1."""


def record_of(backbone: str, seed: int, value: float | None, **changes: Any) -> Record:
    metrics = {} if value is None else {"mAP": Metric(value=value, n=200)}
    content: dict[str, Any] = {
        "key": hashlib.sha256(f"{backbone}, {seed}".encode()).hexdigest()[:16],
        "lineage": "a" * 16,
        "backbone": backbone,
        "control": None if backbone.startswith("scratch:") else "scratch:x",
        "tricks": ("cosine_decay",),
        "task": "detection",
        "benchmark": "mini",
        "protocol": PROTOCOL,
        "seed": seed,
        "status": "ok",
        "metrics": metrics,
        "cost": {"seconds": 72.0, "peak_memory_mb": 900.0},
        "environment": {"cpu": "a processor", "command": "trickle run --seeds 0 1"},
    }
    return Record.model_validate({**content, **changes})


def material_of(records: Sequence[Record], benchmark: str = "mini") -> Material:
    names = {r.backbone: RowName(backbone=r.backbone, control=r.control, tricks=r.tricks)
             for r in records}  # fmt: skip
    table = make_table(
        records,
        benchmark=benchmark,
        rows=list(names.values()),
        seeds=sorted({record.seed for record in records}),
        tasks=("detection",),
    )
    return Material(table=table, records=tuple(records), evidence=lambda record: None)


def small_material() -> Material:
    return material_of(
        [record_of(name, seed, value) for name, of in ROWS.items() for seed, value in enumerate(of)]
    )


def jpeg(level: int = 90) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), level, np.uint8)).save(written, "JPEG")
    return written.getvalue()


def section_of(text: str = "mixup", key: str = "demo") -> Section:
    """All kinds of blocks; `text` stands wherever a text can."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.errorbar([1, 2, 3], [1, 4, 9], yerr=1, label=text)
        axes.set_title(text)
        axes.set_xscale("log")
        axes.legend()

    rows = (
        (Cell(text=f"{text}, two"), Cell(text="2", sort=2.0, detail=text)),
        (Cell(text=f"{text}, ten"), Cell(text="10", sort=10.0)),
        (Cell(text=f"{text}, none"), Cell(text="–")),
    )
    return Section(
        key=key,
        title=text,
        lead=text,
        blocks=(
            Paragraph(text=text),
            Grid(caption=text, header=("", text), rows=rows, notes=(text,)),
            Plot(caption=text, alt=text, draw=draw),
            Gallery(
                caption=text,
                pictures=(Picture(data=jpeg(), alt=text, caption=text),),
                columns=3,
            ),
        ),
        left_out=(text,),
    )
