"""Which jobs a question takes, in which order, and which of them have been done before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from backbones.card import ArtifactError, check_weights, read_card
from benchmarks.schema import Benchmark
from eval.chains import Chains
from eval.jobs import TRANSFERS, Job, Task
from eval.layout import Layout
from eval.records import Record, Records, TaskName
from eval.specs import Spec


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place of the table: the record under `key` belongs to this row, task and seed."""

    row: Spec
    task: TaskName
    seed: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """jobs: each after all that it needs. rows: backbones and controls in the table's order.

    damaged: artifacts that are made again because their weights are not those of their cards.
    """

    benchmark: str
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    rows: tuple[Spec, ...]
    jobs: tuple[Job, ...]
    cells: tuple[Cell, ...]
    damaged: tuple[Path, ...] = ()

    @property
    def todo(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if not job.done)

    def select(self, records: Records) -> list[Record]:
        """The records of this plan's cells, under the names of its rows."""
        found = []
        for cell in self.cells:
            if (record := records.by_key.get(cell.key)) is not None:
                row = cell.row
                control = None if row.is_control else row.control.name
                names = {"backbone": row.name, "control": control, "tricks": row.tricks}
                found.append(record.model_copy(update=names))
        return found


def make_plan(
    specs: Sequence[Spec],
    benchmark: Benchmark,
    tasks: Iterable[Task],
    seeds: Iterable[int],
    out: Path,
    *,
    records: Records,
    benchmark_argument: str | None = None,
    digests: Mapping[str, str] | None = None,
    controls: bool = True,
    baseline: str | None = None,
    tolerate: int = 0,
    auto_accumulate: bool = False,
) -> Plan:
    """The jobs that answer how `specs`, each beside what it is compared with, do on `benchmark`.

    out: absolute. benchmark_argument: what a job's `--benchmark` is given, by default the name.
    digests: of the three data sets; None where they are not known yet, and then no job counts as
    done. controls: whether rows that are only compared with are added; of rows that name their
    recipe of fine-tuning only `baseline`, where there is one. tolerate: what a job's `--tolerate`
    is given; auto_accumulate: whether it gets that flag. Raises ValueError for a task
    that the benchmark has no budget for, an empty list, or an artifact of another width.
    """
    tasks, seeds = tuple(dict.fromkeys(tasks)), tuple(dict.fromkeys(seeds))
    tuned = [spec for spec in specs if spec.tuning is not None]
    if tuned and "finetune" not in tasks:
        raise ValueError(
            f"{tuned[0].name} is fine-tuned on one's own images: add finetune to --tasks, with a "
            "benchmark that has [finetune], or leave out what follows the ~"
        )
    missing = [t for t in TRANSFERS if t in tasks and getattr(benchmark, t) is None]
    if missing:
        raise ValueError(
            f"benchmark {benchmark.name} has no {' and no '.join(missing)}: give other --tasks, "
            f"or add [{missing[0]}] to its file"
        )
    if not specs or not seeds:
        raise ValueError("a plan needs at least one backbone and one seed")
    rows = _with_controls(specs, baseline) if controls else tuple(specs)
    chains = Chains(
        benchmark=benchmark,
        argument=benchmark_argument or benchmark.name,
        layout=Layout(out),
        records=records,
        digests=digests,
        tolerate=tolerate,
        auto_accumulate=auto_accumulate,
        controls=controls,
    )
    cells: list[Cell] = []
    for seed in seeds:
        for row in rows:
            for task, key in chains.add_row(row, tasks, seed):
                cells.append(Cell(row=row, task=task, seed=seed, key=key))
    # Weights that are only fetched or drawn come first: what is wrong with them shows at once.
    jobs = sorted(chains.jobs.values(), key=lambda job: job.kind != "obtain")
    wanted = {cell.key for cell in cells if chains.recorded(cell.key) is None}
    jobs, damaged = _as_needed(jobs, wanted)
    return Plan(
        benchmark=benchmark.name,
        tasks=tasks,
        seeds=seeds,
        rows=rows,
        jobs=tuple(jobs),
        cells=tuple(cells),
        damaged=tuple(damaged),
    )


def _with_controls(specs: Sequence[Spec], baseline: str | None) -> tuple[Spec, ...]:
    """The backbones, those that are compared with one row together and that row below them."""
    compared = {spec: spec.compared_with for spec in specs}
    if baseline is not None:
        compared = {
            spec: other if spec.tuning is None or (other and other.name == baseline) else None
            for spec, other in compared.items()
        }
    rows: dict[str, Spec] = {}
    for reference in dict.fromkeys(other or spec for spec, other in compared.items()):
        for spec, other in compared.items():
            if other == reference:
                rows[spec.name] = spec
        rows[reference.name] = reference
    return tuple(rows.values())


def _as_needed(jobs: Sequence[Job], wanted: Set[str]) -> tuple[list[Job], list[Path]]:
    """Marks as done what would only make artifacts that no job to come reads, and as to do again
    what made one that is damaged and will be read; gives these artifacts too.

    wanted: keys of the records that are missing. So a deleted artifact is not made again for the
    sake of records that are all there, and no teacher is trained for a student that is.
    """
    needed: set[str] = set()
    result: list[Job] = []
    damaged: list[Path] = []
    for job in reversed(jobs):
        if job.state == "ok" and job.makes_artifact and job.id in needed:
            try:
                check_weights(job.artifact, read_card(job.artifact))
            except ArtifactError:
                damaged.append(job.artifact)
                job = replace(job, state="todo")
        if not job.done and job.key not in wanted and job.id not in needed:
            job = replace(job, state="ok")
        if not job.done:
            needed.update(job.needs)
        result.append(job)
    return result[::-1], damaged
