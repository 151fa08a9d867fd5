"""One number for a data set: what every record carries, so that other data gives other records."""

from __future__ import annotations

import hashlib

from backbones.atomic import sha256_file
from benchmarks.dataset_files import DatasetFiles


def dataset_digest(files: DatasetFiles) -> str:
    """sha256 over the sorted relative paths, sizes, and the content of the annotations.

    Independent of where the data lies and of modification times. Images count by their path and
    size: hashing their content would read the whole data set at each change.
    """
    annotations = frozenset(files.annotations)
    summary = hashlib.sha256()
    for name, stat in files.stats():
        content = sha256_file(files.root / name) if name in annotations else "-"
        summary.update(f"{name}\t{stat.st_size}\t{content}\n".encode())
    return summary.hexdigest()
