"""MLflow and Weights & Biases as visualisation backends of mmengine; neither ends a training.

Not mmengine's own two. Those give W&B no step, keep MLflow's run in a variable of the process,
begin a second run when a training goes on, end it before its result is known, and log
mmengine's configuration, which is empty here, in place of the recipe.
"""

from __future__ import annotations

import json
import logging
import math
import netrc
import numbers
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from mmengine.visualization.vis_backend import BaseVisBackend

from backbones.atomic import write_json_atomic
from engine.tracking import (
    DEFAULT_TRACKERS,
    TrackedRun,
    batches,
    experiment_id,
    find_run,
    mlflow_client,
    mlflow_name,
)

End = Literal["ok", "failed", "interrupted"]


class Tracker(BaseVisBackend):
    """One run that lasts as long as its training, through all its interruptions.

    failure: why nothing is written any more, in words; None as long as all goes well.
    """

    title: ClassVar[str]

    def __init__(self, run: TrackedRun, work_dir: Path, logger: logging.Logger) -> None:
        super().__init__(str(work_dir))
        self.run, self.work_dir, self.logger = run, work_dir, logger
        self.failure: str | None = None
        self.logged: dict[str, int] = {}
        """The last step of each metric that the run has already: a training that goes on repeats
        the same steps from its checkpoint on."""

    @property
    def experiment(self) -> Any:
        return self._handle

    def begin(self) -> None:
        """Begins the run, or goes on with it."""
        self._guarded(self._init_env)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict[str, Any], step: int = 0, file_path: str | None = None, **kw: Any
    ) -> None:
        values = self._new(_by_phase(scalar_dict), step)
        if values:
            self._guarded(lambda: self._log(values, step))

    def end(self, how: End, metrics: Mapping[str, Any], step: int) -> None:
        """Ends the run. metrics: of its result, as its summary."""
        values = self._new(metrics, step)
        if self.failure is None:
            self._guarded(lambda: self._end(how, values, step))
        else:  # which is said already
            with suppress(Exception):
                self._end(how, values, step)

    def _new(self, values: Mapping[str, Any], step: int) -> dict[str, float]:
        finite = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, numbers.Real) and math.isfinite(value)
        }
        return {name: v for name, v in finite.items() if self.logged.get(name, -1) < step}

    def _guarded(self, write: Callable[[], None]) -> None:
        if self.failure is not None:
            return
        try:
            write()
        except Exception as error:
            (reason, *_) = str(error).splitlines() or [type(error).__name__]
            self.failure = f"{self.title} does not hold all of this training: {reason}"
            self.logger.warning(self.failure)

    def _log(self, values: dict[str, float], step: int) -> None:
        raise NotImplementedError

    def _end(self, how: End, values: dict[str, float], step: int) -> None:
        raise NotImplementedError


class MLflowRun(Tracker):
    title = "MLflow"
    _STATUS: ClassVar[dict[End, str]] = {
        "ok": "FINISHED",
        "failed": "FAILED",
        "interrupted": "KILLED",
    }

    def _init_env(self) -> None:
        run = self.run
        self._handle = client = mlflow_client(run.store, self._log_files)
        found = find_run(client, run)
        if found is None:
            tags = {**run.tags, "trickle.run": run.id}
            if "git_revision" in tags:
                tags["mlflow.source.git.commit"] = tags["git_revision"].removesuffix("-dirty")
            found = client.create_run(experiment_id(client, run), run_name=run.name, tags=tags)
        else:
            client.update_run(found.info.run_id, status="RUNNING")
        self._id = found.info.run_id
        there = found.data.params
        self._log_params({key: v for key, v in run.params.items() if mlflow_name(key) not in there})
        for name in found.data.metrics:
            history = client.get_metric_history(self._id, name)
            self.logged[name] = max(metric.step for metric in history)

    @property
    def _log_files(self) -> list[logging.FileHandler]:
        return [file for file in self.logger.handlers if isinstance(file, logging.FileHandler)]

    def _log_params(self, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        for batch in batches(params):
            pairs = [Param(name, value) for name, value in batch.items()]
            self._handle.log_batch(self._id, params=pairs)

    def _log(self, values: dict[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(mlflow_name(name), value, now, step) for name, value in values.items()]
        self._handle.log_batch(self._id, metrics=metrics)

    def _end(self, how: End, values: dict[str, float], step: int) -> None:
        try:
            if values:
                self._log(values, step)
            for file in self._log_files:
                self._handle.log_artifact(self._id, file.baseFilename)
        finally:
            self._handle.set_terminated(self._id, status=self._STATUS[how])


class WandbRun(Tracker):
    """Below the work folder; W&B itself is asked only where a key for it is found."""

    title = "W&B"

    def _init_env(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers
        import wandb

        run, self._steps = self.run, self.work_dir / "wandb_steps.json"
        with suppress(FileNotFoundError):
            self.logged = json.loads(self._steps.read_text())
        labels = [run.tags[name] for name in ("benchmark", "backbone", "task")]
        self._handle = wandb.init(
            project=run.project,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=str(self.work_dir),
            config={**run.tags, **run.params},
            tags=[label[:64] for label in labels],
            group=run.tags["backbone"],
            job_type=run.tags["stage"],
            mode=None if "WANDB_MODE" in os.environ or _has_key() else "offline",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_code=True,
                disable_git=True,
                x_transaction_log_flush_interval=1.0,  # seconds that a killed training loses
            ),
        )

    def _log(self, values: dict[str, float], step: int) -> None:
        if step > max(self.logged.values(), default=-1):
            # W&B writes a step down when the next one comes: only now the ones before are there.
            # Kept by us, because what is offline cannot be asked which steps it has.
            write_json_atomic(self._steps, self.logged)
        self._handle.log(values, step=step)
        self.logged |= dict.fromkeys(values, step)

    def _end(self, how: End, values: dict[str, float], step: int) -> None:
        write_json_atomic(self._steps, self.logged)
        self._handle.summary.update(values)
        self._handle.finish(exit_code=0 if how == "ok" else 1)


class Tracking:
    """All trackers of one training; none in processes other than the first.

    tensorboard: whether mmengine's own backend for it is wanted.
    """

    def __init__(self, *, tensorboard: bool = True, trackers: tuple[Tracker, ...] = ()) -> None:
        self.tensorboard, self.trackers = tensorboard, trackers

    @property
    def backends(self) -> list[Any]:
        """As mmengine's visualiser takes them."""
        board = [dict(type="mmengine.TensorboardVisBackend")] if self.tensorboard else []
        return [*board, *self.trackers]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(found.failure for found in self.trackers if found.failure is not None)

    def begin(self) -> None:
        for tracker in self.trackers:
            tracker.begin()

    def end(self, how: End, metrics: Mapping[str, Any] | None, step: int) -> None:
        """metrics: of the result; what is no number in it is left out, and so is n."""
        values = {name: value for name, value in (metrics or {}).items() if name != "n"}
        for tracker in self.trackers:
            tracker.end(how, values, step)


def tracking_of(work_dir: Path, logger: logging.Logger) -> Tracking:
    """As the driver that left a `TrackedRun` in `work_dir` wants it; TensorBoard where none did."""
    run = TrackedRun.read(work_dir)
    if run is None:
        return Tracking()
    kinds: dict[str, type[Tracker]] = {"mlflow": MLflowRun, "wandb": WandbRun}
    return Tracking(
        tensorboard=DEFAULT_TRACKERS[0] in run.trackers,
        trackers=tuple(
            kinds[name](run, work_dir, logger) for name in run.trackers if name in kinds
        ),
    )


def _by_phase(scalars: Mapping[str, Any]) -> dict[str, Any]:
    """mmengine's names, as MLflow and W&B group them; only the lines of training have "iter"."""
    phase = "train" if "iter" in scalars else "val"
    return {
        name if "/" in name else f"{phase}/{name}": value
        for name, value in scalars.items()
        if name not in ("iter", "n")
    }


def _has_key() -> bool:
    """Whether there is a key for the W&B server that is meant."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    with suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(server or "") is not None
    return False
