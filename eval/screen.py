"""What a person sees of a run: few lines, each of them news."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TextIO

from eval.execute import NOT_BEGUN, End
from eval.expected_time import Forecast
from eval.jobs import Job
from eval.layout import Layout
from eval.omissions import Omission
from eval.plan import Plan
from eval.process import one_line
from eval.records import BadRecord, Record
from eval.short_names import with_short_names
from eval.summary import Table
from eval.tables import cells, duration, main_markdown, problem_lines, reading, title_of
from eval.text import in_one_line, visible
from eval.tuned_classifiers import best_record, classifiers_of

_LABEL_WIDTH = 46
_SECONDARY = ("aAcc", "Δ aAcc")  # first to go where a terminal is narrow
_ASIDES = (" no evidence", " by image", " (")
_MOST_BAD_FILES = 20
_MOST_OMISSIONS = 8


class Screen:
    """Writes to standard output, unless that is closed; a Watcher of the executor.

    out: the run's OUT. follow: whether to say where a job writes, which runs on another machine.
    """

    def __init__(self, out: Path, stream: TextIO | None = None, *, follow: bool = False) -> None:
        self.out = out
        self.follow = follow
        self.logs = Layout(out).logs
        self.stream: TextIO | None = stream if stream is not None else sys.stdout

    def say(self, text: str = "") -> None:
        # Flushed: the jobs write to the same terminal.
        print(visible(text), file=self.stream, flush=True)

    def header(self, plan: Plan, division: str | None = None) -> None:
        """division: how one's own images are divided, a line."""
        *first, last = plan.tasks or ("pretraining",)
        tasks = f"{', '.join(first)} and {last}" if first else last
        seeds = f"seed{'s' * (len(plan.seeds) > 1)} {', '.join(map(str, plan.seeds))}"
        self.say(f"Benchmark {plan.benchmark}: {tasks}, {seeds}, into {shown_path(self.out)}")
        self.say(f"Rows: {', '.join(row.name for row in plan.rows)}")
        if division is not None:
            self.say(division)
        count, there = len(plan.jobs), len(plan.jobs) - len(plan.todo)
        self.say(f"Jobs: {count}, of which {there} {'is' if there == 1 else 'are'} done already")
        self.say()

    def jobs(self, plan: Plan, forecast: Forecast) -> None:
        """Every job of a dry run and what it may take, then the whole and what that rests on."""
        width = max((len(job.label) for job in plan.todo), default=0)
        for job in plan.jobs:
            if job.done:
                self.say(f"  done   {job.label}")
                continue
            seconds = forecast.by_job[job.id].seconds
            took = "unknown" if seconds is None else duration(seconds)
            self.say(f"  to do  {job.label:<{width}}  {took:>7}")
        if plan.todo:
            self.say()
            self.expected(forecast)

    def expected(self, forecast: Forecast) -> None:
        """The time that all jobs may take, and what that rests on."""
        self.say(_expected(forecast))
        for basis, count in forecast.bases:
            self.say(f"  {count} job{'s' * (count != 1)}: {basis}")

    def bad_records(self, bad: Sequence[BadRecord]) -> None:
        told = [f"{record.path}: {one_line(record.reason)}" for record in bad[:_MOST_BAD_FILES]]
        if (more := len(bad) - _MOST_BAD_FILES) > 0:
            told.append(f"{more} more files")
        for line in told:
            print(visible(f"left out, not a record: {line}"), file=sys.stderr, flush=True)

    def omissions(self, omissions: Sequence[Omission]) -> None:
        for omission in omissions[:_MOST_OMISSIONS]:
            self.say(f"left out: {omission.line}")
        if (more := len(omissions) - _MOST_OMISSIONS) > 0:
            self.say(f"left out: {more} more, named below the table")

    def started(self, job: Job, number: int, total: int) -> None:
        self.say(f"[{number}/{total}] {job.label} …")
        if self.follow:
            self.say(f"    follow it in {shown_path(self.logs / f'{job.id}.log')}")

    def waits(self, job: Job, number: int, total: int, *, holder: str) -> None:
        self.say(f"[{number}/{total}] {job.label} waits for another run ({holder})")

    def again(self, job: Job, number: int, total: int, *, reason: str) -> None:
        self.say(f"[{number}/{total}] {job.label} is begun again: {reason}")

    def ended(
        self, job: Job, number: int, total: int, *, end: End, summary: str, took: str
    ) -> None:
        said = summary if end == "ok" else f"{end.upper()}: {summary}"
        self.say(f"[{number}/{total}] {job.label:<{_LABEL_WIDTH}}  {said} ({took})")
        if end == "failed" and took != NOT_BEGUN:
            self.say(f"    all that it said: {shown_path(self.logs / f'{job.id}.log')}")

    def table(self, table: Table) -> None:
        table, _, paths = with_short_names(table, ())
        self.say()
        if self.stream is not None and self.stream.isatty():
            self._rich_table(table)
        else:
            self.say(main_markdown(table))
        lines = [
            f"{row.name.backbone}, {line}" for row in table.rows for line in problem_lines(row)
        ]
        for line in ["", *reading(table), *lines, *paths]:
            self.say(line)
        self.say()

    def places(self, paths: Sequence[Path]) -> None:
        self.say(f"Table: {', '.join(shown_path(path) for path in paths)}")
        folders = ("records", "artifacts", "logs")
        found = [self.out / name for name in folders if (self.out / name).is_dir()]
        if found:  # none beside a report of other people's records
            self.say(f"Also:  {', '.join(f'{shown_path(path)}/' for path in found)}")

    def classifier(self, records: Sequence[Record], layouts: Sequence[Layout]) -> None:
        """Where that of the fine-tuning that validated best lies, and what takes it elsewhere."""
        best = best_record(records)
        found = classifiers_of([best.record], layouts, below=Path.cwd()) if best else {}
        if best is not None and (classifier := found.get(best.record.key)) is not None:
            which = f"; {classifier.which}" if classifier.which else ""
            self.say(
                f"Classifier: {classifier.path}/ ({best.record.backbone}, {best.said}{which}); "
                f"to take it elsewhere: {classifier.command}"
            )

    def _rich_table(self, table: Table) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console(file=self.stream)
        header, rows = cells(table)

        def view(left_out: Sequence[str] = ()) -> RichTable:
            drawn = RichTable(
                title=Text(in_one_line(title_of(table))),
                title_justify="left",
                box=SIMPLE_HEAD,
                pad_edge=False,
            )
            shown = [place for place, column in enumerate(header) if column not in left_out]
            for place in shown:
                justify: Literal["left", "right"] = "right" if place else "left"
                drawn.add_column(Text(in_one_line(header[place])), justify=justify, overflow="fold")
            for line in rows:
                drawn.add_row(*(Text(_stacked(line[place], place)) for place in shown))
            return drawn

        full = view()
        whole = Measurement.get(console, console.options.update(max_width=10**4), full).maximum
        console.print(view(_SECONDARY) if whole > console.width else full)
        if whole > console.width:
            self.say(f"(aAcc: in {shown_path(self.out / 'table.md')})")


_FEASIBLE_HOURS = 1000
_SECONDS_OF_YEAR = 365.25 * 24 * 3600


def _expected(forecast: Forecast) -> str:
    unknown = forecast.unknown
    if unknown == len(forecast.by_job):
        return "Expected time: unknown"
    if forecast.seconds > _FEASIBLE_HOURS * 3600:
        years = forecast.seconds / _SECONDS_OF_YEAR
        return f"Expected time: not feasible on this machine (about {years:.1g} years)"
    at_least = "at least " if unknown else ""
    said = f"Expected time: {at_least}{duration(forecast.seconds)}"
    if forecast.slots > 1:
        total = duration(forecast.one_after_the_other)
        said += f", with {forecast.slots} jobs at once ({total} one after the other)"
    return f"{said}; {unknown} of the jobs not counted" if unknown else said


def _stacked(cell: str, place: int) -> str:
    """What is said beside a number stands below it; names (place 0) stay as they are."""
    text = in_one_line(cell)
    for aside in _ASIDES if place else ():
        text = text.replace(aside, f"\n{aside[1:]}")
    return text


def shown_path(path: Path) -> str:
    """Relative to the working directory where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
