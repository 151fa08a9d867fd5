"""From a question (which backbones, on what, with which seeds) to its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.atomic import write_text_atomic
from benchmarks.packaged import PACKAGED
from benchmarks.schema import Benchmark, load_benchmark
from classification.identity import safe_name
from engine.tracking import DEFAULT_TRACKERS, TRACKERS, require_installed
from eval.ablation import Wish, ablate_all
from eval.baseline import find_baseline
from eval.executors import Where, first_submission, make_executor
from eval.expected_time import expected_times
from eval.jobs import TRANSFERS, Task
from eval.kept_evidence import EvidenceReader
from eval.layout import Layout, make_writable
from eval.notes import make_notes
from eval.omissions import (
    Omission,
    of_files,
    of_other_benchmarks,
    of_repeated,
    of_selection,
    to_notes,
)
from eval.own_division import planned_division
from eval.plan import Plan, make_plan
from eval.records import Record, Records, read_records
from eval.screen import Screen
from eval.selection import select_comparable
from eval.short_names import with_short_names
from eval.specs import Spec, parse_specs
from eval.summary import RowName, Table, make_bootstrap, make_table
from eval.teachers import teachers_records
from eval.text import escape_markdown
from eval.tracking import Tracking
from eval.tuned_classifiers import classifiers_of
from eval.usability import check_specs

if TYPE_CHECKING:
    from eval.execute import Outcome
    from eval.image_bootstrap import ImageBootstrap


@dataclass(frozen=True, kw_only=True)
class Question:
    """What the user asks. out: absolute. command: as typed, for the records.

    controls: whether each backbone stands beside what it is compared with, see
    `Spec.compared_with`.
    tolerate: how many unusable images may be left out. full: whether every byte of the data is
    compared with what it was. auto_accumulate: whether a batch that does not fit into memory is
    computed in parts. ablation: what `specs` were derived for; skipped: what of it has to be left
    out, and why. baseline: the row that all are compared with; None for each one's control.
    track: who is told how each training goes; nothing of it is in a record's key.
    """

    specs: tuple[Spec, ...]
    benchmark: Benchmark
    benchmark_argument: str
    tasks: tuple[Task, ...]
    seeds: tuple[int, ...]
    out: Path
    command: str
    controls: bool = True
    tolerate: int = 0
    full: bool = False
    auto_accumulate: bool = False
    ablation: Wish | None = None
    skipped: tuple[str, ...] = ()
    baseline: str | None = None
    where: Where = Where()
    track: tuple[str, ...] = DEFAULT_TRACKERS

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
            baseline=self.baseline,
            tolerate=self.tolerate,
            auto_accumulate=self.auto_accumulate,
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
    tolerate: int = 0,
    full: bool = False,
    auto_accumulate: bool = False,
    ablation: Wish | None = None,
    baseline: str | None = None,
    where: Where | None = None,
    track: Sequence[str] = DEFAULT_TRACKERS,
) -> Question:
    """A question out of what the command line says.

    tasks: None for the fine-tunings that the benchmark has. Raises ValueError, or UnknownNameError
    with the nearest names, before anything is read that takes time.
    """
    require_installed(track)
    specs = parse_specs(backbones)
    loaded = load_benchmark(benchmark)
    skipped: tuple[str, ...] = ()
    if ablation is not None:
        derived = ablate_all(ablation, loaded)
        specs, skipped = [*specs, *derived.specs], derived.skipped
    argument = benchmark
    if benchmark not in PACKAGED:
        argument = str(Path(benchmark).expanduser().absolute())
    if tasks is None:
        tasks = [task for task in TRANSFERS if getattr(loaded, task) is not None]
    question = Question(
        specs=tuple(specs),
        benchmark=loaded,
        benchmark_argument=argument,
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        out=output_folder(out, loaded.name),
        command=command,
        controls=controls,
        tolerate=tolerate,
        full=full,
        auto_accumulate=auto_accumulate,
        ablation=ablation,
        skipped=skipped,
        where=where or Where(),
        track=tuple(name for name in TRACKERS if name in track),
    )
    question.where.check()
    # What is wrong with the plan shows before any data.
    plan = question.plan(Records(by_key={}), None)
    if baseline is not None:
        rows = [spec.name for spec in plan.rows]
        question = replace(question, baseline=find_baseline(baseline, rows))
    check_specs(question.specs, loaded, question.tasks)
    return question


def output_folder(out: str | None, benchmark: str) -> Path:
    """OUT, absolute; by default `runs/<benchmark>` below the working directory."""
    if out == "":
        raise ValueError("--out is empty: expected a directory, or nothing yet, such as runs/mini")
    path = Path("runs") / safe_name(benchmark) if out is None else Path(out).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(f"--out {path}: a file is there; expected a directory, or nothing yet")
    return path.absolute()


def report_folders(
    directories: Sequence[str], out: str | None, benchmark: str | None
) -> tuple[Path, tuple[Path, ...]]:
    """Where `trickle report [DIR ...] [--out DIR]` writes, and what it reads; absolute.

    One directory alone is read and written. Raises ValueError for a directory that is none, for
    several without --out, and for an --out that is one of several.
    """
    sources = tuple(dict.fromkeys(Path(text).expanduser().resolve() for text in directories))
    for source in sources:
        if not (source / "records").is_dir():
            raise ValueError(
                f"{source}: no folder of records is in it; give the --out of an earlier run, which "
                "holds records/"
            )
    if out is None and len(sources) == 1:
        return sources[0], sources
    if out is None and sources:
        raise ValueError(
            f"{len(sources)} directories are read and stay as they are: give --out DIR, where the "
            "report is to be written"
        )
    target = output_folder(out, benchmark or "mini")
    if len(sources) > 1 and target.resolve() in sources:
        raise ValueError(
            f"--out {out} is one of the directories that are read, and these stay as they are: "
            "give another one"
        )
    return target, sources


def dry_run(question: Question) -> None:
    """Says which jobs there are, which are done, and what the others need; nothing is written,
    rendered or trained. Data that is not there yet is named."""
    from benchmarks.missing_data import elsewhere, missing_data
    from benchmarks.prepare import find_ready
    from eval.requirements import needs_in_words

    screen = Screen(question.out)

    missing = missing_data(question.benchmark)
    prepared = None
    if not missing:
        prepared = find_ready(question.benchmark, tolerate=question.tolerate, full=question.full)
    records = read_records(Layout(question.out).records)
    if prepared is not None:
        question = replace(question, benchmark=prepared.benchmark)
    plan = question.plan(records, None if prepared is None else prepared.digests)
    division = None if prepared is None else planned_division(plan, question.benchmark)
    if missing:
        for line in missing:
            screen.say(f"Missing: {line}")
        screen.say(f"{elsewhere(question.benchmark)}.")
        screen.say("Until the data is there no job counts as done.\n")
    _say_ablation(screen, question, plan)
    screen.header(plan, division)
    forecast = expected_times(plan, question.benchmark, records, question.out)
    screen.jobs(plan, forecast)
    for line in needs_in_words(plan, question.benchmark, forecast, question.out):
        screen.say(line)
    if prepared is None and not missing:
        screen.say("The data set will be rendered first; until then no job counts as done.")
    screen.bad_records(records.bad)
    if (script := first_submission(question.where, plan, Layout(question.out))) is not None:
        screen.say(f"\nWhat is submitted first:\n\n{script}")


class Run:
    """A question whose data is there and whose OUT can be written.

    warn: whether warnings about the data are shown. Raises ValueError for data that is missing or
    broken, or an OUT that cannot be written.
    """

    def __init__(self, question: Question, *, warn: bool = True) -> None:
        from benchmarks.prepare import ensure_ready

        self.screen = Screen(question.out, follow=question.where.kind != "local")
        self.layout = Layout(question.out)
        make_writable(question.out)  # before anything that takes time
        prepared = ensure_ready(
            question.benchmark, warn=warn, tolerate=question.tolerate, full=question.full
        )
        self.question = question = replace(question, benchmark=prepared.benchmark)
        self._list_left_out()
        self.records = read_records(self.layout.records)
        self.plan = question.plan(self.records, prepared.digests)
        self.division = planned_division(self.plan, question.benchmark)
        self.executor = make_executor(
            question.where if self.plan.todo else Where(),  # no cluster is asked for nothing
            self.layout,
            self.screen,
            command=question.command,
            records=self.records.by_key.values(),
        )

    def _list_left_out(self) -> None:
        """OUT/left_out.txt names the images that are left out, where there are any."""
        benchmark = self.question.benchmark
        budgets = [getattr(benchmark, stage) for stage in benchmark.stages]
        names = [f"{budget.folder / image}\n" for budget in budgets for image in budget.left_out]
        if names:
            write_text_atomic(self.layout.left_out, "".join(names))

    def execute(self, *, name_classifier: bool = True) -> int:
        """Runs what is to do, shows and writes the table; 0, or 1 where some job failed.

        name_classifier: whether to say where that of the best fine-tuning lies.

        Raises OSError where OUT cannot be written, or is gone.
        """
        screen, plan = self.screen, self.plan
        outcome, tracking = self.work()
        found = read_records(self.layout.records)
        records = plan.select(found)
        rows = [_row_name(spec, plan) for spec in plan.rows]
        evidence = EvidenceReader([self.layout], screen.say)
        bootstrap = make_bootstrap(records, evidence)
        table = make_table(
            records,
            benchmark=plan.benchmark,
            rows=rows,
            seeds=plan.seeds,
            tasks=plan.tasks,
            bootstrap=bootstrap,
            baseline=self.question.baseline,
        )
        paths = _write_report(
            self.question.out,
            table,
            records,
            found.by_key.values(),
            evidence,
            bootstrap,
            layouts=[self.layout],
            omissions=of_files(found),
            anew=bool(plan.todo),
        )
        screen.table(table)
        screen.places(paths)
        if name_classifier:
            screen.classifier(records, [self.layout])
        for line in tracking.places(plan):
            screen.say(line)
        gone = sum(cell.key not in found.by_key for cell in plan.cells)
        if gone:  # every cell had one, if only to say why it failed
            raise FileNotFoundError(
                f"{gone} of {len(plan.cells)} records are not in {self.layout.records} any more: "
                "were they deleted meanwhile?"
            )
        return 1 if outcome.failed else 0

    def work(self) -> tuple[Outcome, Tracking]:
        """Runs what is to do; its records are in OUT then, and no table is made of them.

        Raises OSError where OUT cannot be written, or is gone.
        """
        screen, plan = self.screen, self.plan
        _say_ablation(screen, self.question, plan)
        screen.header(plan, self.division)
        screen.bad_records(self.records.bad)
        for artifact in plan.damaged:
            screen.say(f"{artifact} is damaged, its weights are not those of its card: made again")
        try:
            unrecorded = self.executor.recover(plan, self.records)
            tracking = Tracking(trackers=self.question.track, layout=self.layout, say=screen.say)
            tracking.describe(plan)
            outcome = self.executor.execute(plan)
            tracking.mark_failed(job for job in plan.jobs if job.id in outcome.failed)
            self.executor.wait_for_records(unrecorded)
        finally:
            self.executor.close()
        return outcome, tracking


def report(
    out: Path,
    *,
    sources: Sequence[Path] = (),
    benchmark: str | None = None,
    protocols: Sequence[str] = (),
    baseline: str | None = None,
) -> None:
    """Writes the tables of everything that is recorded in `sources`, by default in `out`, to `out`.

    sources: OUTs of one or several people, which stay as they are. benchmark: the name of the one
    meant, where records of several lie there. protocols: see `select_comparable`. baseline: the row
    that all are compared with; None for each one's control. Raises ValueError where there are no
    records, or of more than one benchmark, or no such row.
    """
    screen = Screen(out)
    layouts = [Layout(source) for source in sources or (out,)]
    read = read_records(*(layout.records for layout in layouts))
    screen.bad_records(read.bad)
    where = ", ".join(str(layout.root) for layout in layouts)
    names = sorted({record.benchmark for record in read.by_key.values()})
    if benchmark is None and len(names) > 1:
        raise ValueError(f"{where} holds records of {', '.join(names)}: choose one by --benchmark")
    records = [r for r in read.by_key.values() if benchmark in (None, r.benchmark)]
    if not records:
        what = f"records of benchmark {benchmark}" if benchmark else "records"
        raise ValueError(
            f"no {what} in {', '.join(str(layout.records) for layout in layouts)}: give the --out "
            "of an earlier run"
        )
    selection = select_comparable(records, protocols)
    if baseline is not None:
        baseline = find_baseline(baseline, [row.backbone for row in selection.rows])
    of_records = (*of_other_benchmarks(read, records[0].benchmark), *of_selection(selection))
    omissions = (*of_files(read), *of_records)
    origins: dict[str, Path] = {}
    if len(layouts) > 1:
        origins = {record.key: read.paths[record.key].parents[1] for record in selection.kept}
    evidence = EvidenceReader(layouts, screen.say)
    bootstrap = make_bootstrap(selection.kept, evidence)
    table = make_table(
        selection.kept,
        benchmark=records[0].benchmark,
        rows=selection.rows,
        seeds=selection.seeds,
        tasks=selection.tasks,
        bootstrap=bootstrap,
        baseline=baseline,
    )
    screen.table(table)
    screen.omissions((*of_repeated(read), *of_records))
    try:
        paths = _write_report(
            out,
            table,
            selection.kept,
            records,
            evidence,
            bootstrap,
            layouts=layouts,
            omissions=omissions,
            origins=origins,
        )
    except OSError as error:
        raise OSError(
            f"the table is shown, but not written to {out}: {error.strerror or error}; let {out} "
            "be written, or give another folder as --out"
        ) from error
    screen.places(paths)
    screen.classifier(selection.kept, layouts)


def _write_report(
    out: Path,
    table: Table,
    records: Sequence[Record],
    known: Iterable[Record],
    evidence: EvidenceReader,
    bootstrap: ImageBootstrap | None,
    *,
    layouts: Sequence[Layout],
    omissions: tuple[Omission, ...] = (),
    origins: Mapping[str, Path] | None = None,
    anew: bool = True,
) -> tuple[Path, ...]:
    """known: every record that was read: teachers' pretrainings and the probes of candidates count,
    too."""
    # Late: what draws takes a second to load.
    from eval.report import write_report
    from eval.sections.material import Material

    known = tuple(known)
    taught_by = teachers_records(records, known)
    in_table = {record.key for record in records}
    shown, of_shown, paths = with_short_names(table, records)
    material = Material(
        table=shown,
        records=of_shown,
        evidence=evidence,
        omissions=omissions,
        origins=origins or {},
        bootstrap=bootstrap,
        teachers=taught_by,
        files={record.key: record.file_name for record in records},
        classifiers=classifiers_of(records, layouts, below=out),
        probes=tuple(
            r
            for r in known
            if r.task == "probes" and r.benchmark == table.benchmark and r.key not in in_table
        ),
    )
    notes = [
        *make_notes(shown, of_shown),
        *(f"{escape_markdown(line)}." for line in paths),
        *to_notes(omissions),
    ]
    stamps = [evidence.stamp(record) for record in records]
    return write_report(out, material, notes, stamps=stamps, anew=anew, named=table)


def _say_ablation(screen: Screen, question: Question, plan: Plan) -> None:
    """Its budget, and what of it is not done, before anything else."""
    if question.ablation is not None:
        screen.say(question.ablation.said(plan))
        for line in question.skipped:
            screen.say(line)


def _row_name(spec: Spec, plan: Plan) -> RowName:
    reference = spec.compared_with
    control = reference.name if reference in plan.rows else None
    return RowName(backbone=spec.name, control=control, tricks=spec.tricks)
