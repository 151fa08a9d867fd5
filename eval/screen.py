"""What a person sees of a run: few lines, each of them news."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from eval.execute import NOT_BEGUN, End
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan
from eval.process import one_line
from eval.records import BadRecord
from eval.summary import Table
from eval.tables import cells, problem_lines, to_markdown
from eval.text import in_one_line, visible

_LABEL_WIDTH = 46


class Screen:
    """Writes to standard output, unless that is closed; a Watcher of the executor.

    out: the run's OUT.
    """

    def __init__(self, out: Path, stream: TextIO | None = None) -> None:
        self.out = out
        self.logs = Layout(out).logs
        self.stream: TextIO | None = stream if stream is not None else sys.stdout

    def say(self, text: str = "") -> None:
        # Flushed: the jobs write to the same terminal.
        print(visible(text), file=self.stream, flush=True)

    def header(self, plan: Plan) -> None:
        tasks = " and ".join(plan.tasks) or "pretraining"
        seeds = f"seed{'s' * (len(plan.seeds) > 1)} {', '.join(map(str, plan.seeds))}"
        self.say(f"Benchmark {plan.benchmark}: {tasks}, {seeds}, into {shown_path(self.out)}")
        self.say(f"Rows: {', '.join(row.name for row in plan.rows)}")
        count, there = len(plan.jobs), len(plan.jobs) - len(plan.todo)
        self.say(f"Jobs: {count}, of which {there} {'is' if there == 1 else 'are'} done already")
        self.say()

    def jobs(self, plan: Plan) -> None:
        """Every job of a dry run."""
        for job in plan.jobs:
            self.say(f"  {'done ' if job.done else 'to do'}  {job.label}")

    def bad_records(self, bad: Sequence[BadRecord]) -> None:
        for record in bad:
            said = f"left out, not a record: {record.path}: {one_line(record.reason)}"
            print(visible(said), file=sys.stderr, flush=True)

    def started(self, job: Job, number: int, total: int) -> None:
        self.say(f"[{number}/{total}] {job.label} …")

    def waits(self, job: Job, number: int, total: int, *, holder: str) -> None:
        self.say(f"[{number}/{total}] {job.label} waits for another run ({holder})")

    def ended(
        self, job: Job, number: int, total: int, *, end: End, summary: str, took: str
    ) -> None:
        said = summary if end == "ok" else f"{end.upper()}: {summary}"
        self.say(f"[{number}/{total}] {job.label:<{_LABEL_WIDTH}}  {said} ({took})")
        if end == "failed" and took != NOT_BEGUN:
            self.say(f"    all that it said: {shown_path(self.logs / f'{job.id}.log')}")

    def table(self, table: Table) -> None:
        self.say()
        if self.stream is not None and self.stream.isatty():
            self._rich_table(table)
        else:
            self.say(to_markdown(table, ()).strip())
        lines = [
            f"{row.name.backbone}, {line}" for row in table.rows for line in problem_lines(row)
        ]
        for line in ["", *lines] if lines else []:
            self.say(line)
        self.say()

    def places(self, paths: Sequence[Path]) -> None:
        self.say(f"Table: {', '.join(shown_path(path) for path in paths)}")
        folders = ("records", "artifacts", "logs")
        found = [self.out / name for name in folders if (self.out / name).is_dir()]
        self.say(f"Also:  {', '.join(f'{shown_path(path)}/' for path in found)}")

    def _rich_table(self, table: Table) -> None:
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        header, rows = cells(table)
        title = Text(in_one_line(f"Transfer on {table.benchmark}"))
        view = RichTable(title=title, title_justify="left")
        for index, column in enumerate(header):
            view.add_column(
                Text(in_one_line(column)), justify="right" if index else "left", overflow="fold"
            )
        for line in rows:
            view.add_row(*(Text(in_one_line(cell)) for cell in line))
        Console(file=self.stream).print(view)


def shown_path(path: Path) -> str:
    """Relative to the working directory where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
