"""What `--track` asks for: each training of a plan described to the trackers, under OUT."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from uuid import uuid4

from backbones.provenance import git_revision
from engine.locks import exclusive
from engine.tracking import (
    DEFAULT_TRACKERS,
    TrackedRun,
    experiment_id,
    find_run,
    flat,
    mlflow_client,
)
from eval.jobs import TASK_FACTS, TRANSFERS, Job
from eval.layout import Layout
from eval.plan import Plan

_TRAININGS = ("classification", *TRANSFERS)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """trackers: as chosen. say: shows a line to the user."""

    trackers: tuple[str, ...]
    layout: Layout
    say: Callable[[str], None]

    def describe(self, plan: Plan) -> None:
        """Leaves in the work folder of each training that is to do what its trackers are told.

        A training that goes on keeps its run. Raises OSError where it cannot be written; a store
        of MLflow's that takes nothing is said, and costs no training.
        """
        by_id = {job.id: job for job in plan.jobs}
        runs: list[TrackedRun] = []
        revision = None if self.trackers == DEFAULT_TRACKERS else git_revision()
        for job in plan.todo:
            if job.kind not in _TRAININGS:
                continue
            before = TrackedRun.read(job.work)
            if before is None and self.trackers == DEFAULT_TRACKERS:
                continue  # which is what a training does of itself
            run = tracked_run(job, by_id, revision=revision, trackers=self.trackers)
            store, artifacts = _mlflow_store(self.layout)
            run = replace(run, store=store, artifacts=artifacts)
            run = run if before is None else replace(run, id=before.id)
            job.work.mkdir(parents=True, exist_ok=True)
            run.write(job.work)
            runs.append(run)
        if runs and "mlflow" in self.trackers:
            self._make_store(runs[0])

    def _make_store(self, run: TrackedRun) -> None:
        """Before any training: two that make the tables of one SQLite file at once would fail."""
        try:
            with exclusive(self.layout.locks / "mlflow.lock"):
                experiment_id(mlflow_client(run.store), run)
        except Exception as error:
            self.say(f"MLflow will hold nothing of this run: {_line(error)}")

    def places(self, plan: Plan) -> list[str]:
        """A line for each of MLflow and W&B that was told of trainings of this run: where that
        is, and what shows or sends it."""
        runs = [(job, run) for job in plan.todo if (run := TrackedRun.read(job.work)) is not None]
        lines = []
        if "mlflow" in self.trackers and runs:
            store = runs[0][1].store
            lines.append(f"MLflow: {store} (mlflow ui --backend-store-uri {shlex.quote(store)})")
        if "wandb" in self.trackers:
            offline = [job.work for job, _ in runs if any(job.work.glob("wandb/offline-run-*"))]
            if offline:
                runs_of = shlex.quote(str(offline[0].parent)) + "/*/wandb/offline-run-*"
                lines.append(
                    f"W&B: offline; after `wandb login` send it with `wandb sync {runs_of}`"
                )
            elif any((job.work / "wandb").is_dir() for job, _ in runs):
                lines.append(f"W&B: project {runs[0][1].project}")
        return lines

    def mark_failed(self, jobs: Iterable[Job]) -> None:
        """Says so of the runs of trainings that could not do it themselves."""
        if "mlflow" not in self.trackers:
            return  # W&B sees itself that a process is gone
        for job in jobs:
            run = TrackedRun.read(job.work) if job.kind in _TRAININGS else None
            if run is None:
                continue
            try:
                client = mlflow_client(run.store)
                found = find_run(client, run)
                if found is not None and found.info.status != "FAILED":
                    client.set_terminated(found.info.run_id, status="FAILED")
            except Exception as error:
                self.say(f"MLflow does not know that {run.name} failed: {_line(error)}")


def tracked_run(
    job: Job, jobs: dict[str, Job], *, revision: str | None, trackers: tuple[str, ...]
) -> TrackedRun:
    """What trackers are told of a training; of a fine-tuning also how its backbone was trained.

    jobs: of the whole plan, by id.
    """
    assert job.kind != "obtain", "no training"
    assert job.key is not None, "a training ends in a record"
    title = TASK_FACTS[job.kind].title
    params = flat(job.protocol)
    for maker in (jobs[need] for need in job.needs):
        if job.kind != "classification" and maker.kind == "classification":
            params |= flat(maker.protocol, "pretraining.")
    tags = {
        "benchmark": job.benchmark,
        "backbone": job.spec.name,
        "task": job.kind,
        "stage": title,
        "seed": str(job.seed),
        "tricks": ", ".join(job.spec.tricks),
        "record": job.key,
    }
    if revision is not None:
        tags["git_revision"] = revision
    return TrackedRun(
        trackers=trackers,
        id=uuid4().hex[:16],
        project=f"trickle-{job.benchmark}",
        name=f"{job.spec.name} {title} seed {job.seed}",
        tags={name: value for name, value in tags.items() if value},
        params={"backbone": job.spec.name, "seed": job.seed, **params},
    )


def _mlflow_store(layout: Layout) -> tuple[str, str]:
    """Of the store that MLflow's own variable names, or else below OUT; and of its files."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if given:
        return given, ""
    return f"sqlite:///{layout.root / 'mlflow.db'}", (layout.root / "mlflow").as_uri()


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
