"""Collects what the tests marked `reliability` promise and measured: `--reliability-report FILE`.

A test is marked `@pytest.mark.reliability(POINT, PROMISE)` and says what it measured by the
fixture `measured`; docs/reliability.md is made from the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

_PROMISE = "promise"


def pytest_runtest_setup(item: pytest.Item) -> None:
    # In the report of a test, so that it reaches us from other processes too.
    if (marker := item.get_closest_marker("reliability")) is not None:
        item.user_properties.append((_PROMISE, marker.args))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reliability-report", type=Path, metavar="FILE", help="JSON of promises and figures"
    )


class Report:
    """The rows of the page; a parametrized test gives one for all its cases."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        promises = [value for name, value in report.user_properties if name == _PROMISE]
        if not promises or (report.when != "call" and report.passed):
            return
        point, promise = promises[0]
        test = report.nodeid.partition("[")[0]
        row = self.rows.setdefault(
            test,
            dict(point=point, promise=promise, cases=0, figures=[], seconds=0.0, outcome="passed"),
        )
        row["cases"] += 1
        row["seconds"] = round(row["seconds"] + report.duration, 1)
        row["figures"] += [value for name, value in report.user_properties if name == "measured"]
        if not report.passed and row["outcome"] != "failed":
            row["outcome"] = report.outcome

    def pytest_sessionfinish(self) -> None:
        from engine.stage import environment

        machine = environment()
        about = {key: machine[key] for key in ("cpu", "cpu_count", "accelerator", "torch")}
        rows = [
            {"test": test, **row}
            for test, row in sorted(self.rows.items(), key=lambda item: (item[1]["point"], item[0]))
        ]
        content = {"date": date.today().isoformat(), "machine": about, "rows": rows}
        self.file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    file = config.getoption("--reliability-report")
    if file is not None and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Report(file))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """measured("10 kills, 0 of 312 tensors differ"): what stands in docs/reliability.md."""
    return lambda figure: record_property("measured", figure)
