"""From a question (which backbones, on what, with which seeds) to its table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.schema import PACKAGED, Benchmark, load_benchmark
from classification.identity import safe_name
from eval.execute import LocalExecutor
from eval.jobs import TASKS, Task
from eval.layout import Layout, locked
from eval.notes import make_notes
from eval.plan import Plan, make_plan
from eval.records import Records, read_records
from eval.screen import Screen
from eval.selection import select_comparable
from eval.specs import Spec, parse_specs
from eval.summary import RowName, make_table
from eval.tables import write_tables
from eval.usability import check_specs


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the user asks. out: absolute. command: as typed, for the records.

    controls: whether each backbone stands beside its own architecture from random weights.
    """

    specs: tuple[Spec, ...]
    benchmark: Benchmark
    benchmark_argument: str
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    out: Path
    command: str
    controls: bool = True

    def plan(self, records: Records, digests: Mapping[str, str] | None) -> Plan:
        return make_plan(
            self.specs,
            self.benchmark,
            self.tasks,
            self.seeds,
            self.out,
            records=records,
            benchmark_argument=self.benchmark_argument,
            digests=digests,
            controls=self.controls,
        )


def ask(
    backbones: list[str],
    *,
    benchmark: str,
    seeds: list[int],
    out: str | None,
    command: str,
    tasks: list[Task] | None = None,
    controls: bool = True,
) -> Question:
    """A question out of what the command line says.

    tasks: None for all that the benchmark has. Raises ValueError, or UnknownNameError with the
    nearest names, before anything is read that takes time.
    """
    specs = parse_specs(backbones)
    loaded = load_benchmark(benchmark)
    argument = benchmark
    if benchmark not in PACKAGED:
        argument = str(Path(benchmark).expanduser().absolute())
    if tasks is None:
        tasks = [task for task in TASKS if getattr(loaded, task) is not None]
    question = Question(
        specs=tuple(specs),
        benchmark=loaded,
        benchmark_argument=argument,
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        out=output_folder(out, loaded.name),
        command=command,
        controls=controls,
    )
    question.plan(Records(by_key={}), None)  # what is wrong with the plan shows before any data
    check_specs(question.specs, loaded, question.tasks)
    return question


def output_folder(out: str | None, benchmark: str) -> Path:
    """OUT, absolute; by default `runs/<benchmark>` below the working directory."""
    path = Path("runs") / safe_name(benchmark) if out is None else Path(out).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path}: a file is there; expected a directory, or nothing yet")
    return path.absolute()


def dry_run(question: Question) -> None:
    """Says which jobs there are and which are done; nothing is written, rendered or trained."""
    from benchmarks.prepare import find_ready

    screen = Screen(question.out)

    prepared = find_ready(question.benchmark)
    records = read_records(Layout(question.out).records)
    plan = question.plan(records, None if prepared is None else prepared.digests)
    screen.header(plan)
    screen.jobs(plan)
    if prepared is None:
        screen.say("The data set will be rendered first; until then no job counts as done.")
    screen.bad_records(records.bad)


class Run:
    """A question whose data is there and whose OUT is ours until `close`.

    Raises ValueError for data that is missing or broken, and where another run is at work in OUT.
    """

    def __init__(self, question: Question) -> None:
        from benchmarks.prepare import ensure_ready

        self.question = question
        self.screen = Screen(question.out)
        self.layout = Layout(question.out)
        self.resources = ExitStack()
        prepared = ensure_ready(question.benchmark)
        self.lock = self.resources.enter_context(locked(question.out))
        try:
            self.records = read_records(self.layout.records)
            self.plan = question.plan(self.records, prepared.digests)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.resources.close()

    def execute(self) -> int:
        """Runs what is to do, shows and writes the table; 0, or 1 where some job failed."""
        screen, plan = self.screen, self.plan
        screen.header(plan)
        screen.bad_records(self.records.bad)
        executor = LocalExecutor(self.layout, screen, command=self.question.command, lock=self.lock)
        executor.recover(plan, self.records)
        outcome = executor.execute(plan)
        records = plan.select(read_records(self.layout.records))
        rows = [_row_name(spec, controls=self.question.controls) for spec in plan.rows]
        table = make_table(
            records, benchmark=plan.benchmark, rows=rows, seeds=plan.seeds, tasks=plan.tasks
        )
        paths = write_tables(self.question.out, table, make_notes(table, records))
        screen.table(table)
        screen.places(paths)
        return 1 if outcome.failed else 0


def report(out: Path, *, benchmark: str | None = None) -> None:
    """Writes the tables of everything that is recorded in OUT.

    benchmark: the name of the one meant, where records of several lie there. Raises ValueError
    where there are no records, or of more than one benchmark.
    """
    screen = Screen(out)
    read = read_records(Layout(out).records)
    screen.bad_records(read.bad)
    names = sorted({record.benchmark for record in read.by_key.values()})
    if benchmark is None and len(names) > 1:
        raise ValueError(f"{out} holds records of {', '.join(names)}: choose one by --benchmark")
    records = [r for r in read.by_key.values() if benchmark in (None, r.benchmark)]
    if not records:
        what = f"records of benchmark {benchmark}" if benchmark else "records"
        raise ValueError(f"no {what} in {out}/records: give the --out of an earlier run")
    selection = select_comparable(records)
    table = make_table(
        selection.kept,
        benchmark=records[0].benchmark,
        rows=selection.rows,
        seeds=selection.seeds,
        tasks=selection.tasks,
    )
    paths = write_tables(out, table, make_notes(table, selection.kept))
    screen.table(table)
    if selection.left_out:
        screen.say(f"{len(selection.left_out)} records of other protocols or weights left out")
    screen.places(paths)


def _row_name(spec: Spec, *, controls: bool) -> RowName:
    control = spec.control.name if controls and not spec.is_control else None
    return RowName(backbone=spec.name, control=control, tricks=spec.tricks)
