"""The jobs of one backbone and seed, from its weights to its scores; shared ones once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from backbones.card import ArtifactError, Card, read_card
from benchmarks.schema import STAGES, Benchmark
from classification.derived import find_recipe
from classification.identity import (
    TEACHER_SEED,
    Identity,
    TeacherSource,
    artifact_name,
    safe_name,
    teacher_of,
)
from classification.probe_protocol import probed_stage
from classification.recipes import FINE_TUNING
from classification.recipes.user_file import user_file
from classification.tricks import Pretrained, PseudoLabels
from classification.tricks.pseudo_labels import SELF
from eval.identity import backbone_identity, record_key, spec_protocol, width_of
from eval.jobs import TASK_FACTS, TRANSFERS, Job, Task, python_module
from eval.layout import Layout
from eval.records import Record, Records, TaskName
from eval.short_names import short_name
from eval.specs import Spec, expected_tasks, parse_spec
from eval.state import read_made_card, state_of

_UNKNOWN = dict.fromkeys(STAGES, "unknown")


@dataclass(kw_only=True)
class Chains:
    """The jobs of all chains, in an order in which each comes after what it needs.

    argument: what a job's `--benchmark` is given. digests: of the data sets, None where unknown.
    tolerate: how many unusable images a job leaves out, as this process has.
    auto_accumulate: whether a job computes in parts what memory does not hold. controls: whether
    backbones without a recipe of fine-tuning in their name are compared with random weights, which
    are of the benchmark's width.
    """

    benchmark: Benchmark
    argument: str
    layout: Layout
    records: Records
    digests: Mapping[str, str] | None
    tolerate: int = 0
    auto_accumulate: bool = False
    controls: bool = True

    def __post_init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.imported: dict[str, Identity] = {}
        self.folders: dict[str, str] = {}
        # What the benchmark has no data for is for the protocols to say.
        self.data = {**_UNKNOWN, **(self.digests or {})}

    def add_row(self, spec: Spec, tasks: Sequence[Task], seed: int) -> list[tuple[TaskName, str]]:
        """Adds the chain of one backbone and seed; gives (task, record key) of its cells: of a
        backbone with a recipe of fine-tuning those of that task alone."""
        own = spec.untuned
        if spec.kind == "artifact" and spec.tuning is None and self.controls:
            self.check_width(spec)
        identity = self.identity(own, seed)
        artifact, maker = self.add_backbone(own, identity, seed)
        cells: list[tuple[TaskName, str]] = []
        if spec.tuning is None and maker is not None and maker.key is not None:
            cells.append(("classification", maker.key))
        for task in expected_tasks(spec.name, tasks):
            if task == "robustness" and not self.classifies(spec):
                continue
            job = self.add_task(spec, identity, seed, task, artifact, maker)
            assert job.key is not None, "a task ends in a record"
            cells.append((task, job.key))
        return cells

    def classifies(self, spec: Spec) -> bool:
        """Whether its artifact holds a classifier of this benchmark's classes."""
        if spec.kind != "artifact":
            return spec.kind == "trained"
        assert spec.file is not None, "an artifact has its directory"
        card = read_card(spec.file)
        trained_on = None if card.dataset is None else card.dataset.get("digest")
        return card.weights == "trained" and trained_on == self.data["pretraining"]

    def identity(self, spec: Spec, seed: int) -> Identity:
        if spec.name in self.imported:
            return self.imported[spec.name]
        identity = backbone_identity(spec, self.benchmark, self.data, seed)
        if identity.seed is None:  # a weights file is read once, not for every seed
            self.imported[spec.name] = identity
        return identity

    def folder(self, spec: Spec, identity: Identity) -> str:
        """The name of its artifact's folder. Two rows that are one training share it: `standard` is
        also the ladder's `ladder256_linear_scaling`. It is the one that is there already, or else
        bears the name of the row that comes first."""
        if identity.digest not in self.folders:
            own = artifact_name(spec.name, identity)
            weights = own.removeprefix(safe_name(spec.name))
            there = {path.name for path in self.layout.artifacts.glob(f"*{weights}")}
            self.folders[identity.digest] = own if own in there or not there else min(there)
        return self.folders[identity.digest]

    def add_backbone(self, spec: Spec, identity: Identity, seed: int) -> tuple[Path, Job | None]:
        """The artifact's directory, and the job that makes it (None for one that is given)."""
        if spec.kind == "artifact":
            assert spec.file is not None, "an artifact has its directory"
            return spec.file, None
        seed = seed if identity.seed is not None else 0
        name = self.folder(spec, identity)
        artifact = self.layout.artifacts / name
        if spec.kind == "trained":
            job = self.pretraining(spec, identity, seed, name, artifact)
        else:
            job = self.obtaining(spec, identity, seed, name, artifact)
        return artifact, self.jobs.setdefault(job.id, job)

    def obtaining(
        self, spec: Spec, identity: Identity, seed: int, name: str, artifact: Path
    ) -> Job:
        asked = spec.weights if spec.kind == "hf" else spec.name
        asked = f"{spec.architecture}@{spec.file}" if spec.file is not None else asked
        planned = None if spec.file is None else identity.facts["weights"]
        return Job(
            kind="obtain",
            id=f"weights-{name}",
            spec=spec,
            seed=seed,
            command=python_module(
                "obtain",
                backbone=asked,
                seed=seed,
                width=width_of(spec, self.benchmark),
                artifact=artifact,
            ),
            artifact=artifact,
            reads=() if spec.file is None else (spec.file,),
            weights_sha256=planned,
            work=self.layout.work / f"weights-{name}",
            lineage=identity.lineage,
            benchmark=self.benchmark.name,
            state=state_of("obtain", record=None, card=self.card(artifact, planned)),
        )

    def pretraining(
        self, spec: Spec, identity: Identity, seed: int, name: str, artifact: Path
    ) -> Job:
        teacher = teacher_of(spec.name)
        taught_by: Path | str | None = None if teacher is None else teacher.text
        teaching = None
        if teacher is not None and teacher.kind == "trained":
            (teacher_spec,) = parse_spec(teacher.text)
            teacher_identity = self.identity(teacher_spec, TEACHER_SEED)
            taught_by, teaching = self.add_backbone(teacher_spec, teacher_identity, TEACHER_SEED)
        protocol = spec_protocol(spec, self.benchmark, self.data)
        key = record_key(identity, "classification", protocol, seed)
        work = self.layout.work / name
        state = state_of("classification", record=self.recorded(key), card=self.card(artifact))
        return Job(
            kind="classification",
            id=f"pretraining-{name}",
            spec=spec,
            seed=seed,
            needs=() if teaching is None else (teaching.id,),
            command=python_module(
                "classification",
                backbone=spec.name,
                benchmark=self.argument,
                tolerate=self.tolerate or None,
                auto_accumulate=self.auto_accumulate or None,
                seed=seed,
                artifact=artifact,
                work_dir=work,
                result=work / "result.json",
                teacher=taught_by,
                recipes=user_file(),
            ),
            artifact=artifact,
            reads=self.given(user_file(), *_taught_by(teacher, taught_by), *_starts(spec)),
            work=work,
            result=work / "result.json",
            key=key,
            lineage=identity.lineage,
            protocol=protocol,
            benchmark=self.benchmark.name,
            state=state,
        )

    def add_task(
        self,
        spec: Spec,
        identity: Identity,
        seed: int,
        task: Task,
        artifact: Path,
        maker: Job | None,
    ) -> Job:
        """The fine-tuning or measurement of an artifact."""
        trains = task in TRANSFERS
        measured = probed_stage(self.benchmark) if task == "probes" else "pretraining"
        data = self.data[task if trains else measured]
        recipe: dict[str, str] = {}
        if task == "finetune":
            assert self.benchmark.finetune is not None, "the plan has looked"
            recipe = {"recipe": spec.tuning or self.benchmark.finetune.recipe}
        plan_protocol = resolve_name(TASK_FACTS[task].protocol)
        protocol: dict[str, Any] = plan_protocol(self.benchmark, data, **recipe)
        key = record_key(identity, task, protocol, seed)
        # The key stands in the folder's name, so that no run resumes one of another protocol.
        job_id = f"{task}-{self.folder(spec.untuned, identity)}-s{seed}-{key[:8]}"
        work = self.layout.work / job_id
        job = Job(
            kind=task,
            id=job_id,
            spec=spec,
            seed=seed,
            needs=() if maker is None else (maker.id,),
            command=python_module(
                task,
                artifact=artifact,
                benchmark=self.argument,
                tolerate=self.tolerate or None,
                auto_accumulate=(trains and self.auto_accumulate) or None,
                seed=seed,
                work_dir=work,
                result=work / "result.json",
                row=short_name(spec.name) if trains else None,
                **recipe,
                recipes=user_file() if recipe else None,
            ),
            artifact=artifact,
            reads=self.given(artifact, user_file() if recipe else None, *_asked(recipe)),
            work=work,
            result=work / "result.json",
            key=key,
            lineage=identity.lineage,
            protocol=protocol,
            benchmark=self.benchmark.name,
            state=state_of(task, record=self.recorded(key), card=None),
        )
        return self.jobs.setdefault(job.id, job)

    def given(self, *paths: Path | None) -> tuple[Path, ...]:
        """What a job reads that is given a benchmark too; a packaged one has no file of its own."""
        file = Path(self.argument)
        return (*([file] if file.is_absolute() else []), *(path for path in paths if path))

    def recorded(self, key: str) -> Record | None:
        return None if self.digests is None else self.records.final(key)

    def card(self, directory: Path, weights_sha256: str | None = None) -> Card | None:
        """The card of an artifact that is there already, made from that weights file."""
        if self.digests is None:
            return None
        try:
            return read_made_card(directory, weights_sha256)
        except ArtifactError:
            return None

    def check_width(self, spec: Spec) -> None:
        assert spec.file is not None, "an artifact has its directory"
        width = read_card(spec.file).arguments["width"]
        if not spec.is_foreign and width != self.benchmark.backbone.width:
            raise ValueError(
                f"{spec.name} has width {width:g}, its control on benchmark {self.benchmark.name} "
                f"would have {self.benchmark.backbone.width:g}: use a benchmark file with "
                f"[backbone] width = {width:g}"
            )


def _taught_by(teacher: TeacherSource | None, given: Path | str | None) -> tuple[Path, ...]:
    """Where a student's teacher lies: its artifact, or the weights file of a model of timm."""
    if teacher is None or given is None:
        return ()
    place = str(given).partition("@")[2] if teacher.kind == "timm" else given
    return (Path(place),) if place else ()


def _asked(recipe: Mapping[str, str]) -> tuple[Path, ...]:
    """Classifiers that a recipe of fine-tuning names as the teachers of its pseudo-labels."""
    tricks = find_recipe(recipe["recipe"], FINE_TUNING).tricks if recipe else ()
    asked = [t.teacher for t in tricks if isinstance(t, PseudoLabels)]
    return tuple(Path(teacher).absolute() for teacher in asked if teacher != SELF)


def _starts(spec: Spec) -> tuple[Path, ...]:
    """Artifacts that a recipe names whose weights the training starts from."""
    assert spec.recipe is not None, "a trained backbone has a recipe"
    tricks = find_recipe(spec.recipe).tricks
    return tuple(Path(t.artifact).absolute() for t in tricks if isinstance(t, Pretrained))
