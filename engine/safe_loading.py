"""No data runs code: what OpenMMLab loads from files, it loads without pickle's powers.

mmengine hands checkpoints to torch.load without saying `weights_only`, so that an environment
variable (TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD) makes a weights file a program; its downloads do so
always. Its files loader takes .pkl for data.
"""

from __future__ import annotations

import os
from typing import Any

from mmengine.fileio import BaseFileHandler, register_handler
from mmengine.runner import CheckpointLoader

from backbones.weights_file import WeightsError, read_torch_file


def load_data_only() -> None:
    """Every scheme of mmengine's CheckpointLoader (`Pretrained`, `load_from`, `resume`) takes
    tensors of local files only, and no pickle is read as an annotation. Idempotent."""
    for prefix in list(CheckpointLoader._schemes):
        CheckpointLoader.register_scheme(prefix, _load_local if prefix == "" else _refuse, True)
    register_handler(["pickle", "pkl"])(_NoPickle)


def _load_local(filename: str, map_location: Any = None) -> Any:
    return read_torch_file(os.path.expanduser(filename), map_location=map_location)


def _refuse(filename: str, map_location: Any = None) -> Any:
    raise WeightsError(
        f"{filename} is not loaded: weights come from local files. Download the file, and give "
        "its path"
    )


class _NoPickle(BaseFileHandler):
    str_like = False

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"{getattr(file, 'name', 'a pickle')} is not read: a pickle can run code. Convert it "
            "to JSON"
        )

    def dump_to_fileobj(self, obj: Any, file: Any, **kwargs: Any) -> None:
        raise ValueError("pickles are not written; use JSON")

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        raise ValueError("pickles are not written; use JSON")
