"""How a test starts a command without a network, and learns whether it asked for one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_UNSHARE = ["unshare", "--net", "--map-root-user"]


def own_network() -> list[str]:
    """The words before a command that give it a kernel's network of its own, with no way out.

    Empty where this user may not do that; then `CutNetwork` alone refuses what Python asks for.
    """
    try:
        allowed = subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    return _UNSHARE if allowed else []


@dataclass(frozen=True)
class CutNetwork:
    """file: what the processes write, see sitecustomize.py beside this file."""

    file: Path

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths), "TRICKLE_TEST_SOCKETS": str(self.file)}

    @property
    def processes(self) -> int:
        """How many have started with the network cut."""
        return sum(line.startswith("started ") for line in self._lines())

    @property
    def attempts(self) -> list[str]:
        return [line for line in self._lines() if not line.startswith("started ")]

    def _lines(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []
