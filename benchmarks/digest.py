"""One number for a data set: what every record carries, so that other data gives other records."""

from __future__ import annotations

import hashlib

from backbones.atomic import sha256_file
from benchmarks.dataset_files import DatasetFiles
from benchmarks.errors import DataError


def dataset_digest(files: DatasetFiles) -> str:
    """sha256 over the sorted relative paths, sizes, and the content of the annotations; of lists
    that have one, their meaning alone.

    Independent of where the data lies and of modification times. Images count by their path and
    size: hashing their content would read the whole data set at each change. Raises DataError for
    a file that is missing.
    """
    summary = hashlib.sha256()
    for name, found in files.stats():
        if found is None:
            raise DataError(f"{files.root / name} is listed in the data and not there")
        if (meaning := files.meanings.get(name)) is not None:
            summary.update(f"{name}\t{meaning}\n".encode())
            continue
        content = sha256_file(files.root / name) if name in files.annotations else "-"
        summary.update(f"{name}\t{found.st_size}\t{content}\n".encode())
    return summary.hexdigest()
