"""What the command line of `trickle finetune` says of one's own images, and plain paths to them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmarks.packaged import PACKAGED
from classification.identity import safe_name


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """What the command line says of the images; None: as it suits them. data: a folder or a CSV
    file; all paths absolute."""

    data: Path
    unlabelled: Path | None = None
    folds: int | None = None
    image_size: int | None = None

    @property
    def is_list(self) -> bool:
        return self.data.suffix.lower() == ".csv"

    @property
    def name(self) -> str:
        """Of the benchmark, and of OUT below runs/."""
        data = plain_path(self.data)
        name = safe_name(data.stem if self.is_list else data.name)
        return f"own_{name}" if name in PACKAGED else name

    def plain(self) -> OwnData:
        """The same, without `..` in its paths."""
        unlabelled = self.unlabelled and plain_path(self.unlabelled)
        return replace(self, data=plain_path(self.data), unlabelled=unlabelled)


@lru_cache(maxsize=1024)
def plain_path(path: Path) -> Path:
    """Absolute, without `..`: links stay as they are named, but for one that `..` follows."""
    if ".." not in path.parts:
        return path.absolute()
    plain, real = Path(os.path.abspath(path)), path.resolve()
    return plain if plain.resolve() == real else real


def plain_image(path: Path) -> Path:
    """A link that is an image keeps its name."""
    return plain_path(path.parent) / path.name
