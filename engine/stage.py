"""What every stage's process does around its work: threads, noise, errors, the environment."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from backbones.atomic import NoSpace, is_no_space, no_space
from backbones.provenance import version
from engine.allocator import keep_freed_memory
from engine.fast_paths import is_fast
from engine.interruption import Interrupted, end_workers, handling_signals
from engine.machine_limits import cpu_name
from engine.processes import lost_another, process_group
from engine.threads import choose_threads, job_cores

_USER_ERRORS = (ValueError, FileNotFoundError, PermissionError)


def environment() -> dict[str, str]:
    """Machine and versions, for the record."""
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpu_count": str(os.cpu_count()),
        "usable_cores": f"{job_cores():g}",
        "threads": str(torch.get_num_threads()),
        "accelerator": accelerator,
        **{name: version(name) for name in ("torch", "torchvision", "mmengine", "numpy")},
    }


def run_stage(main: Callable[[list[str] | None], None], argv: list[str] | None = None) -> int:
    """Runs a stage's main: 0 when it returns, 2 with one line for a user's mistake, 1 for a full
    disk or another process that was lost, 143 for SIGTERM and 130 for Ctrl-C.

    Anything else is a defect and keeps its traceback. See `engine.interruption` for signals, and
    for TRICKLE_DRIVER_PIPE.
    """
    choose_threads()
    try:
        if is_fast("kept_memory"):
            keep_freed_memory()
        with handling_signals(), process_group():
            main(argv)
    except _USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if not is_no_space(error):
            raise
        print(f"error: {_said(error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if not lost_another(error):
            raise
        end_workers()
        print(
            "error: another process of this training has ended or cannot be reached any more; "
            "what it said, or torchrun's report, says why. The same command goes on from the last "
            f"checkpoint ({str(error).partition('. ')[0]})",
            file=sys.stderr,
        )
        return 1
    except Interrupted as interrupt:
        end_workers()
        return interrupt.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _said(error: OSError) -> str:
    if isinstance(error, NoSpace) or error.filename is None:
        return str(error)
    return no_space(Path(error.filename), needed=None, cause=error)
