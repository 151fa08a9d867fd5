"""Where the jobs of a run may be carried out, as the command line says it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eval.execute import Executor, LocalExecutor, Watcher
from eval.layout import Layout
from eval.plan import Plan
from eval.records import Record

if TYPE_CHECKING:
    from eval.slurm_executor import SlurmOptions

Kind = Literal["local", "ray", "slurm"]
_LIBRARY = {"ray": "ray", "slurm": "submitit"}


@dataclass(frozen=True, kw_only=True)
class Where:
    """ray_address, storage: see `eval.ray_executor`; slurm: what each of Slurm's jobs asks for."""

    kind: Kind = "local"
    ray_address: str | None = None
    storage: Literal["auto", "pull"] = "auto"
    slurm: SlurmOptions | None = None

    def check(self) -> None:
        """ValueError where the library that it takes is not installed."""
        library = _LIBRARY.get(self.kind)
        if library is not None and importlib.util.find_spec(library) is None:
            raise ValueError(
                f"--executor {self.kind} needs {library}, which is not installed: "
                "pip install 'trickle[cluster]'"
            )


def make_executor(
    where: Where,
    layout: Layout,
    watcher: Watcher,
    *,
    command: str,
    records: Iterable[Record] = (),
) -> Executor:
    """Raises ValueError where it cannot be had."""
    where.check()
    if where.kind == "ray":
        from eval.ray_executor import RayExecutor

        return RayExecutor(
            layout,
            watcher,
            command=command,
            address=where.ray_address,
            storage=where.storage,
            records=records,
        )
    if where.kind == "slurm":
        from eval.slurm_executor import SlurmExecutor, SlurmOptions

        options = where.slurm or SlurmOptions()
        return SlurmExecutor(layout, watcher, command=command, options=options)
    return LocalExecutor(layout, watcher, command=command)


def first_submission(where: Where, plan: Plan, layout: Layout) -> str | None:
    """The script that Slurm would be given for the jobs which can begin at once; else None."""
    unfinished = {job.id for job in plan.todo}
    ready = sum(unfinished.isdisjoint(job.needs) for job in plan.todo)
    if where.kind != "slurm" or not ready:
        return None
    from eval.slurm_executor import SlurmOptions, sbatch_script

    return sbatch_script(where.slurm or SlurmOptions(), layout, ready)
