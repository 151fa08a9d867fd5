"""What each trick costs in a training step, as `bench/trick_overhead.py` measured it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path("docs/trick_overhead.json")
COMMAND = "python bench/trick_overhead.py --json docs/trick_overhead.json"


@dataclass(frozen=True)
class Overheads:
    """data: the bench's JSON; None before the first measurement."""

    data: dict[str, Any] | None

    @classmethod
    def read(cls, root: Path) -> Overheads:
        file = root / FILE
        return cls(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None)

    def missing(self, names: list[str]) -> list[str]:
        """Tricks of which the file says nothing."""
        known = {} if self.data is None else self.data["raw"]["tricks"]
        return [name for name in names if name not in known]

    def _entry(self, name: str) -> dict[str, Any]:
        return {} if self.data is None else self.data["raw"]["tricks"].get(name, {})

    def short(self, name: str) -> str:
        """For a cell of a table: `+2.1%`, `–` where a step says nothing of the trick."""
        entry = self._entry(name)
        if "percent" not in entry:
            return "–"
        percent = entry["percent"]
        if percent["q1"] < 0 < percent["q3"]:
            return "in the noise"
        return f"{percent['estimate']:+.1f}%"

    def long(self, name: str) -> str:
        """A sentence for the trick's page."""
        entry = self._entry(name)
        if "unmeasured" in entry:
            return f"Not measured: {entry['unmeasured']}."
        if "percent" not in entry:
            return "Not measured yet."
        percent = entry["percent"]
        if "microseconds" in entry:
            return (
                f"None that shows: the closed form takes {entry['microseconds']:.1f} µs, "
                f"{percent['estimate']:.4f}% of a step."
            )
        return (
            f"A training step takes {percent['estimate']:+.1f}% longer, with quartiles of "
            f"{percent['q1']:+.1f}% and {percent['q3']:+.1f}% over {entry['rounds']} rounds, for "
            f"`{entry['example']}`. [How it was measured](README.md).{_call(entry)}"
        )

    def about(self) -> str:
        """How and where it was measured."""
        if self.data is None:
            return f"Overheads have not been measured yet: `{COMMAND}`."
        raw, machine = self.data["raw"], self.data["machine"]
        noise = raw["noise"]["percent"]
        return (
            "*Overhead*: how much longer a training step takes with the trick: loading, "
            "augmentation, forward, backward and update, on one machine in one process, the step "
            "with it and the step without it in turn; the ratio of the lower quartiles of both "
            "times. The step is "
            f"{raw['architecture']}'s at {raw['width']:g} of the width with {raw['batch_size']} "
            f"images of {raw['image_size']} pixels, {_milliseconds(raw)} ms, under "
            f"`{raw['baseline']}`, on {machine['cpu']} with {_threads(machine)}. Against "
            f"itself it takes {noise['estimate']:+.1f}% longer (quartiles {noise['q1']:+.1f}% and "
            f"{noise['q3']:+.1f}%) in the last run. *In the noise*: the rounds' quartiles lie on "
            f"both sides of zero (load average {machine['load_average']}, so other work ran beside "
            "it); the trick's page has them. A dash: a step says nothing of the trick. "
            f"`{COMMAND}` measures anew."
        )


def _milliseconds(raw: dict[str, Any]) -> str:
    return f"{1000 * raw['noise']['seconds']['without']:.0f}"


def _threads(machine: dict[str, str]) -> str:
    count = machine["threads"]
    return "one thread" if count == "1" else f"{count} threads"


def _call(entry: dict[str, Any]) -> str:
    """What a trick on batches takes by itself, which the noise of whole steps hides."""
    if "call" not in entry:
        return ""
    call = entry["call"]
    return (
        f" What it does to the batch takes {call['milliseconds']:.2f} ms by itself, "
        f"{call['percent']:.2f}% of a step."
    )
