"""What a stage hands back: one JSON file with its metrics, its cost and what it was run under.

Nothing here imports torch: the process that reads results is not the one that trains.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from backbones.atomic import write_text_atomic

_PERCENT_SLACK = 1e-6  # of summed floats


def _nan_is_missing(value: Any) -> Any:
    """A metric that is not defined (a class without objects) is null in our files, never NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


Value = Annotated[float | None, BeforeValidator(_nan_is_missing)]


class Metric(BaseModel):
    """One number. value: None where it is not defined; n: how many images or boxes it rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    value: Value
    unit: str = "percent"
    n: int = Field(ge=0)
    higher_is_better: bool = True

    @model_validator(mode="after")
    def _percent_lies_in_0_100(self) -> Metric:
        if self.unit != "percent" or self.value is None:
            return self
        if not -_PERCENT_SLACK <= self.value <= 100 + _PERCENT_SLACK:
            raise ValueError(f"a percent metric lies in 0..100, not {self.value}")
        return self


class StageResult(BaseModel):
    """What one stage (pretraining, detection, segmentation) measured.

    status: "diverged" where the loss became NaN or infinite; metrics are then empty or null.
    per_class: metric name -> class name -> value. cost: "seconds", "peak_memory_mb" and counts.
    notes: what a reader of the numbers should know. evidence_sha256: of the file of
    `engine.evidence` beside the result; None where there is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    status: Literal["ok", "diverged"]
    metrics: dict[str, Metric] = {}
    per_class: dict[str, dict[str, Value]] = {}
    cost: dict[str, float] = {}
    protocol: dict[str, Any] = {}
    environment: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    evidence_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the result whole or not at all; the folder must exist."""
        write_text_atomic(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> StageResult:
        """Raises FileNotFoundError, and ValueError naming the file where it is not a result."""
        try:
            return cls.model_validate_json(Path(path).read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path} is not a stage's result: {error}") from error
