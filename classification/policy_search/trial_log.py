"""The trials of a search in a file, a line each, so that a search that was killed goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbones.atomic import write_text_atomic
from classification.policy import SubPolicy
from classification.policy_file import as_sub_policy


@dataclass(frozen=True, kw_only=True)
class LoggedTrial:
    """fold: from 0. sub_policy: without steps that of the images as they are, which comes first.
    seconds: that it took."""

    fold: int
    sub_policy: SubPolicy
    loss: float
    seconds: float


class TrialLog:
    """about: everything that the trials depend on. A file that is of something else, or is none, is
    begun anew."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        first = json.dumps({"about": dict(about)}, sort_keys=True)
        self.trials = _read(path, first)
        # Written anew, so that half a line at the end of a killed process is not gone on with.
        lines = [first, *map(_line, self.trials)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, "".join(f"{line}\n" for line in lines))

    def of(self, fold: int) -> list[LoggedTrial]:
        """In their order."""
        return [trial for trial in self.trials if trial.fold == fold]

    def append(self, trial: LoggedTrial) -> None:
        """It is on the disk then. Raises OSError."""
        with self.path.open("a") as file:
            file.write(f"{_line(trial)}\n")
            file.flush()
            os.fsync(file.fileno())
        self.trials.append(trial)


def _line(trial: LoggedTrial) -> str:
    return json.dumps(
        {
            "fold": trial.fold,
            "sub_policy": trial.sub_policy,
            "loss": trial.loss,
            "seconds": trial.seconds,
        }
    )


def _read(path: Path, first: str) -> list[LoggedTrial]:
    """The whole lines of the file, up to the first that is none."""
    try:
        begin, *lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return []
    found: list[LoggedTrial] = []
    if begin != first:
        return found
    for line in lines[:-1]:
        try:
            plain = json.loads(line)
            found.append(LoggedTrial(**{**plain, "sub_policy": as_sub_policy(plain["sub_policy"])}))
        except (ValueError, TypeError, KeyError):
            break
    return found
