"""A job: one process, what it needs, what it leaves behind, and how it is called."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from eval.records import TaskName
    from eval.specs import Spec

Transfer = Literal["detection", "segmentation", "finetune"]
Measurement = Literal["probes", "robustness", "speed"]
Task = Literal[Transfer, Measurement]
JobKind = Literal["obtain", "classification", Task]
State = Literal["todo", "ok", "diverged"]

TRANSFERS: tuple[Transfer, ...] = get_args(Transfer)
"""What trains an artifact further, on data of its own: each a table of the benchmark's."""
MEASUREMENTS: tuple[Measurement, ...] = get_args(Measurement)
"""What is measured on an artifact as it is, without training it further."""

TASKS: tuple[Task, ...] = (*TRANSFERS, *MEASUREMENTS)
"""What `--tasks` chooses from."""


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What the suite has to know of a task; the rest is the task's own.

    title: as it stands within a sentence. program: the module that a job runs. protocol:
    `module:function` of (benchmark, digest of its data), which gives everything that moves the
    number; of "finetune", of the recipe's name as well. columns: the metrics that every table
    shows, the main one first. more_columns: those that it shows where a row has them, without a
    difference. summary: those that are told when a job has ended, by default the columns.
    """

    title: str
    program: str
    protocol: str
    columns: tuple[str, ...] = ()
    more_columns: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        return self.summary or self.columns


TASK_FACTS: dict[TaskName, TaskFacts] = {
    "classification": TaskFacts(
        title="pretraining",
        program="classification.pretrain",
        protocol="classification.protocol:pretraining_protocol",
        columns=("top1",),
        summary=("top1", "top5"),
    ),
    "detection": TaskFacts(
        title="detection",
        program="detection.finetune",
        protocol="detection.protocol:detection_protocol",
        columns=("mAP",),
    ),
    "segmentation": TaskFacts(
        title="segmentation",
        program="segmentation.finetune",
        protocol="segmentation.protocol:segmentation_protocol",
        columns=("mIoU", "aAcc"),
    ),
    "finetune": TaskFacts(
        title="fine-tuning",
        program="classification.finetune",
        protocol="classification.finetune_protocol:finetune_protocol",
        columns=("tuned_top1", "macro_f1"),
        more_columns=("auc", "tta_top1"),
        summary=("tuned_top1", "macro_f1", "auc", "tta_top1"),
    ),
    "probes": TaskFacts(
        title="probes",
        program="classification.probe",
        protocol="classification.probe_protocol:probes_protocol",
        summary=("linear_probe", "knn"),
    ),
    "robustness": TaskFacts(
        title="robustness",
        program="classification.robustness",
        protocol="classification.robustness_protocol:robustness_protocol",
        summary=("fgsm_top1", "corruption_top1"),
    ),
    "speed": TaskFacts(
        title="speed",
        program="classification.speed",
        protocol="classification.speed_protocol:speed_protocol",
        summary=("images_per_second_224",),
    ),
}
"""How to add one: docs/extending.md."""

MODULES: dict[JobKind, str] = {
    "obtain": "backbones.obtain",
    **{task: facts.program for task, facts in TASK_FACTS.items()},
}
"""The program of each kind of job."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One process of a plan.

    kind: "obtain" makes an artifact without training, "classification" by pretraining; the others
    fine-tune or measure one. id: also the name of its folders. needs: ids of jobs that come first.
    artifact: the directory that it writes or reads. reads: all files and directories that it is
    given, by absolute paths: artifacts, weights, the benchmark's file, recipes. weights_sha256: of
    the weights file that it imports. key, lineage, protocol: of the record that it ends in;
    "obtain" ends in none, and its key is None. state: "todo", or how it ended before.
    """

    kind: JobKind
    id: str
    spec: Spec
    seed: int
    needs: tuple[str, ...] = ()
    command: tuple[str, ...]
    artifact: Path
    reads: tuple[Path, ...] = ()
    weights_sha256: str | None = None
    work: Path
    result: Path | None = None
    key: str | None = None
    lineage: str
    protocol: dict[str, Any] = field(default_factory=dict, compare=False)
    benchmark: str
    state: State = "todo"

    @property
    def done(self) -> bool:
        return self.state != "todo"

    @property
    def runs_alone(self) -> bool:
        """Whether another job on the machine would change what it measures."""
        return self.kind == "speed"

    @property
    def makes_artifact(self) -> bool:
        return self.kind in ("obtain", "classification")

    @property
    def label(self) -> str:
        what = {"obtain": "weights", "classification": "pretraining"}.get(self.kind, self.kind)
        return f"{what:<12}  {self.spec.name}  seed {self.seed}"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What the process itself leaves behind."""
        made = (self.artifact,) if self.makes_artifact else ()
        return made if self.result is None else (*made, self.result)


def python_module(kind: JobKind, **options: object) -> tuple[str, ...]:
    """`python -P -m MODULE --option value ...`; options whose value is None are left out,
    and of those whose value is True the value.

    -P: what happens to lie in the user's working directory cannot stand in for our packages.
    """
    command = [sys.executable, "-P", "-m", MODULES[kind]]
    for name, value in options.items():
        if value is not None:
            flag = f"--{name.replace('_', '-')}"
            command += [flag] if value is True else [flag, str(value)]
    return tuple(command)
