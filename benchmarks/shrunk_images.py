"""Copies of the training images, shrunk once to a short side, so that decoding one costs less.

They lie in the user's cache under the names that the images have, as JPEGs of quality 95 and, like
nearly all photographs, with half the colors' resolution: at 256 pixels 1.7 levels of 255 from the
resized image in the mean (1.2 with all of it, which takes 1.5 times as long to decode). Validation
images stay as they are.
"""

from __future__ import annotations

import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from backbones.atomic import write_json_atomic
from benchmarks.cache import CACHE_VARIABLE, cache_entry
from benchmarks.errors import DataError
from benchmarks.file_index import ImageSamples, sizes_and_times
from benchmarks.image_files import check_image
from benchmarks.imagenet_layout import ImageNetIndex, read_index
from benchmarks.mini_world.progress import Progress
from benchmarks.pixels import EncodedImage
from benchmarks.schema import SHRINK_FORMAT, SHRINK_QUALITY, PretrainingBudget
from benchmarks.worker_pool import as_done, usable_processes
from engine.locks import exclusive
from engine.processes import tell

SEAL = "copies.json"
HALF_COLORS = 2  # as Pillow calls 4:2:0
IMAGES_PER_TASK = 20
"""Few, since a signal ends the work only after the tasks in hand."""
IMAGES_WORTH_A_PROCESS = 300
"""Shrinking fewer takes less time than starting a process."""
_LONGEST_JPEG_SIDE = 65_500


def training_images(budget: PretrainingBudget, digest: str) -> ImageNetIndex:
    """The images to train on; where the budget has a `shrink_to`, their copies, same in order.

    Copies that are not there yet are made first; another process that asks for them waits. Data
    whose names, sizes or times change gets new ones. digest: of the data.

    Raises DataError: an image that cannot be decoded, a cache that cannot be written, or copies
    that somebody has changed.
    """
    index = read_index(budget.root, "train", left_out=budget.left_out)
    if not budget.shrink_to:
        return index
    files = sizes_and_times(budget.root / "train", index.samples.files)
    of = {"root": os.path.realpath(budget.root), "shrink_to": budget.shrink_to}
    key = [SHRINK_FORMAT, *of.values(), digest, files]
    folder = cache_entry("shrunk", json.dumps(key), suffix="")
    if not folder.is_dir():
        _shrink_once(index.samples, folder, of)
    copies = read_index(folder, "train")
    if copies.classes != index.classes or len(copies.samples) != len(index.samples):
        raise _changed(
            folder, f"{len(index.samples)} were written, {len(copies.samples)} are there"
        )
    if _sealed(folder).get("files") != sizes_and_times(folder / "train", index.samples.files):
        raise _changed(folder, "names, sizes and times are not those that were written")
    return copies


def _changed(folder: Path, how: str) -> DataError:
    return DataError(
        f"the shrunk images in {folder} have been changed ({how}); delete that folder, and the "
        "next run makes them again"
    )


def _sealed(folder: Path) -> dict[str, Any]:
    """What the copies are of, and the digest of their names, sizes and times; empty if unknown."""
    try:
        found = json.loads((folder / SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def shrunk(image: EncodedImage, short_side: int) -> bytes | None:
    """A JPEG whose shorter side has `short_side` pixels; None where the image's has no more.

    Resized by Pillow's bilinear filter, whose kernel grows with the scale, as training does it.
    """
    from PIL import Image

    height, width, _ = image.shape
    scale = short_side / min(height, width)
    size = round(width * scale), round(height * scale)
    if scale >= 1 or max(size) > _LONGEST_JPEG_SIDE:
        return None
    small = Image.fromarray(image.whole()).resize(size, Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=SHRINK_QUALITY, subsampling=HALF_COLORS)
    return buffer.getvalue()


def _shrink_once(samples: ImageSamples, folder: Path, of: dict[str, Any]) -> None:
    try:
        with exclusive(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():  # another process may have made it while this one waited
                _shrink_all(samples, folder, of)
                _name_older(folder, of)
    except OSError as error:
        raise DataError(
            f"the training images shrunk to {of['shrink_to']} pixels cannot be written to "
            f"{folder.parent}: {error.strerror or error}; what is there is kept: make room and "
            f"start again, let the environment variable {CACHE_VARIABLE} name another folder, or "
            "take shrink_to out of the benchmark"
        ) from error


def _name_older(folder: Path, of: dict[str, Any]) -> None:
    """Says which copies are of the same images before they changed; a job may still read them."""
    for other in sorted(folder.parent.iterdir()):
        if other != folder and of.items() <= _sealed(other).items():
            tell(
                f"{other} holds copies of what {of['root']} was before; nothing new reads them: "
                "delete it once no older run does"
            )


def _shrink_all(samples: ImageSamples, folder: Path, of: dict[str, Any]) -> None:
    """`folder` is there entirely or not at all; what a killed call has written is gone on with."""
    unfinished, short_side = folder.with_name(f"{folder.name}.partial"), of["shrink_to"]
    for name in samples.files.classes:
        (unfinished / "train" / name).mkdir(parents=True, exist_ok=True)
    processes = min(usable_processes(), 1 + len(samples) // IMAGES_WORTH_A_PROCESS)
    work = partial(_shrink_part, samples, unfinished / "train", short_side)
    starts = range(0, len(samples), IMAGES_PER_TASK)
    what = f"shrinking the training images to {short_side} pixels"
    progress = Progress(what, len(samples), "images")
    try:
        for count in as_done(work, starts, processes=processes):
            progress.advance(count)
    finally:
        progress.close()
    # One sync for all: an fsync for each file takes longer than writing it.
    os.sync()
    files = sizes_and_times(unfinished / "train", samples.files)
    write_json_atomic(unfinished / SEAL, {**of, "files": files})
    unfinished.rename(folder)


def _shrink_part(samples: ImageSamples, folder: Path, short_side: int, start: int) -> int:
    part = samples[start : start + IMAGES_PER_TASK]
    for path, _ in part:
        target = folder / path.parent.name / path.name
        if not _is_whole(target):
            _write(path, target, short_side)
    return len(part)


def _is_whole(target: Path) -> bool:
    # After a power failure a file may be there and empty.
    try:
        check_image(target)
    except DataError:
        return False
    return True


def _write(path: Path, target: Path, short_side: int) -> None:
    """Raises DataError for an image that cannot be read, OSError where nothing can be written."""
    copy = shrunk(EncodedImage.read(path), short_side)
    # A name that no index lists, and no process that outlives its parent for a moment shares.
    writing = target.with_name(f".{target.name}.{os.getpid()}")
    writing.unlink(missing_ok=True)
    try:
        if copy is None:
            _link(path, writing)
        else:
            writing.write_bytes(copy)
        writing.replace(target)
    except BaseException:
        writing.unlink(missing_ok=True)
        raise


def _link(path: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no such thing."""
    import shutil

    try:
        os.link(os.path.realpath(path), target)
    except OSError:
        shutil.copyfile(path, target)
