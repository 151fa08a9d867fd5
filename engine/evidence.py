"""What a task saw, image by image: arrays and pictures in one file beside its result.

A record holds means; what is between two means (which images changed, how sure a difference is,
what was mistaken for what) is computed from this, without any training. Nothing here imports torch,
or numpy before it is needed: what answers a wrong command line imports this.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.atomic import write_bytes_atomic

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FILE_NAME = "evidence.safetensors"
_FORMAT = "1"
_PICTURE = "picture/"
_CONTENT = "evidence"
_LARGEST_BYTES = 2**31


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """classes: names in the order of the labels. images: names of the test images, in their order.

    arrays: by name, see the task's own module for what each holds. pictures: JPEG or PNG files by
    name, for the eye alone.
    """

    task: str
    classes: tuple[str, ...]
    images: tuple[str, ...]
    arrays: Mapping[str, npt.NDArray[np.generic]]
    pictures: Mapping[str, bytes] = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str]) -> str:
        """Writes the file whole or not at all; gives its sha256, the same for the same content."""
        import numpy as np
        from safetensors.numpy import save

        tensors = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        for name, picture in self.pictures.items():
            tensors[_PICTURE + name] = np.frombuffer(picture, np.uint8)
        content = {
            "format": _FORMAT,
            "task": self.task,
            "classes": self.classes,
            "images": self.images,
        }
        data = save(
            tensors,
            metadata={_CONTENT: json.dumps(content)},  # several entries come in no fixed order
        )
        write_bytes_atomic(path, data)
        return hashlib.sha256(data).hexdigest()


def leave_evidence(
    made: Callable[[], Evidence], result: Path
) -> tuple[str | None, tuple[str, ...]]:
    """Makes it and writes it beside `result`; gives its sha256, and no note.

    Where the disk refuses, None and a note that says why: what was measured stands without it.
    """
    try:
        return made().write(result.parent / FILE_NAME), ()
    except OSError as error:
        return None, (not_kept(error),)


def not_kept(error: OSError | ValueError) -> str:
    """The note of a result or a record whose evidence is lost by this error."""
    number = error.errno if isinstance(error, OSError) else None
    return f"what it saw was not kept: {error if number is None else os.strerror(number)}"


def read_evidence(path: Path, *, sha256: str | None = None) -> Evidence:
    """Raises ValueError, which names the file, where it is none or not the one of that checksum,
    OSError where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if (size := path.stat().st_size) > _LARGEST_BYTES:
        raise ValueError(f"{path}: {size} bytes are too many for evidence")
    data = path.read_bytes()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path} is not the file that its record names: its sha256 differs")
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        known = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_CONTENT])
        task = str(known["task"])
        if known["format"] != _FORMAT:
            raise ValueError(f"format {known['format']!r}, expected {_FORMAT!r}")
        classes, images = (tuple(map(str, known[key])) for key in ("classes", "images"))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no evidence of a task: {error}") from error
    return Evidence(
        task=task,
        classes=classes,
        images=images,
        arrays={name: value for name, value in tensors.items() if not name.startswith(_PICTURE)},
        pictures={
            name.removeprefix(_PICTURE): value.tobytes()
            for name, value in tensors.items()
            if name.startswith(_PICTURE)
        },
    )
