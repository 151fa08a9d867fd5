"""What a training tells TensorBoard, MLflow and Weights & Biases of itself, as a plan says it.

The driver leaves a file in the job's work folder and the training finds it there. Nothing of it
moves a number, and nothing here imports torch.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from backbones.atomic import write_json_atomic

TRACKERS = ("tensorboard", "mlflow", "wandb")
DEFAULT_TRACKERS = ("tensorboard",)

_NEEDS = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
_NOISY = ("mlflow", "alembic", "sqlalchemy")
_OF_MLFLOW = {
    # What it would otherwise send to its makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # A server that is gone holds a training up for half a minute, not for several.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_BATCH = 100  # parameters that MLflow takes at once

Knob = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One training as the trackers show it.

    id: the same when the training goes on. project: MLflow's experiment. params: flat; what it
    was run with. store: the URI of MLflow's store; artifacts: where that keeps a new experiment's
    files, "" for where it likes.
    """

    trackers: tuple[str, ...]
    id: str
    project: str
    name: str
    tags: dict[str, str]
    params: dict[str, Knob]
    store: str = ""
    artifacts: str = ""

    def write(self, work_dir: Path) -> None:
        write_json_atomic(_file(work_dir), asdict(self))

    @classmethod
    def read(cls, work_dir: Path) -> TrackedRun | None:
        """None where no driver left one that can be read."""
        try:
            content = json.loads(_file(work_dir).read_text(encoding="utf-8"))
            return cls(**{**content, "trackers": tuple(content["trackers"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None


def _file(work_dir: Path) -> Path:
    return work_dir / "tracking.json"


def require_installed(trackers: Sequence[str]) -> None:
    """Raises ValueError where one of them is not installed; says what to do."""
    for tracker in trackers:
        if any(find_spec(package) is None for package in _NEEDS.get(tracker, ())):
            raise ValueError(
                f"--track {tracker} needs packages that are not installed: "
                "pip install 'trickle[tracking]'"
            )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Knob]:
    """{"recipe": {"epochs": 120}} as {"recipe.epochs": 120}; lists and empty tables as JSON."""
    found: dict[str, Knob] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{name}.")
        elif value is None or isinstance(value, str | int | float):
            found[name] = value
        else:
            found[name] = json.dumps(value, ensure_ascii=False)
    return found


def mlflow_client(store: str, handlers: Sequence[logging.Handler] = ()) -> Any:
    """MLflow's client of a store; what it logs goes to `handlers` alone. Takes seconds; the first
    one of a new SQLite file makes its tables."""
    for variable, value in _OF_MLFLOW.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient
    for name in _NOISY:
        logger = logging.getLogger(name)
        logger.handlers[:] = handlers or [logging.NullHandler()]
        logger.propagate = False
    return MlflowClient(store)


def experiment_id(client: Any, run: TrackedRun) -> str:
    """Of the run's project, which is made where there is none yet."""
    found = client.get_experiment_by_name(run.project)
    if found is None:
        try:
            made = client.create_experiment(run.project, artifact_location=run.artifacts or None)
        except Exception:  # by another training at the same time, or a store that takes nothing
            found = client.get_experiment_by_name(run.project)
            if found is None:
                raise
        else:
            return str(made)
    return str(found.experiment_id)


def find_run(client: Any, run: TrackedRun) -> Any:
    """MLflow's run of this training; None where it has not begun one."""
    found = client.get_experiment_by_name(run.project)
    if found is None:
        return None
    mine = f"tags.`trickle.run` = '{run.id}'"
    runs = client.search_runs([found.experiment_id], filter_string=mine, max_results=1)
    return runs[0] if runs else None


def mlflow_name(name: str) -> str:
    """A name of ours as MLflow takes it."""
    return re.sub(r"[^A-Za-z0-9_\-. :/]", "_", name)[:250]


def batches(params: Mapping[str, Knob]) -> Iterator[dict[str, str]]:
    """As many as MLflow takes at once, in its words."""
    rest = iter(params.items())
    while some := dict(islice(rest, _BATCH)):
        yield {mlflow_name(name): str(value)[:6000] for name, value in some.items()}
