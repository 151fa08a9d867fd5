"""What torch finds on this machine, printed as JSON: run by `trickle doctor` in its own process.

So a torch that cannot be imported, crashes or hangs in a driver is a finding, not doctor's end.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def probe() -> dict[str, Any]:
    """`{"cuda_build", "cuda_driver", "gpus": [...], "torchvision", "mmcv"}`.

    gpus: name and bytes. torchvision: why its kernels cannot be loaded, or None. mmcv: why a
    compiled extension of it cannot, None where it can, "absent" where there is none.
    """
    import torch

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            gpus.append({"name": torch.cuda.get_device_name(index), "total": total, "free": free})
    return {
        "cuda_build": torch.version.cuda,
        "gpus": gpus,
        "torchvision": _loading(torch, _libraries("torchvision", "_C*.so")),
        "mmcv": _loading(torch, _libraries("mmcv", "_ext*.so")),
    }


def _libraries(package: str, pattern: str) -> list[Path]:
    """Found without importing the package, which takes seconds."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    return [file for folder in folders or () for file in sorted(Path(folder).glob(pattern))]


def _loading(torch: Any, libraries: list[Path]) -> str | None:
    for library in libraries:
        try:
            torch.ops.load_library(str(library))
        except (OSError, RuntimeError) as error:
            return str(error) or type(error).__name__
    return None if libraries else "absent"


if __name__ == "__main__":
    print(json.dumps(probe()))
