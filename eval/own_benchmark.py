"""The benchmark file for a folder of labelled images: what `trickle finetune FOLDER` writes.

OUT/benchmark.toml, and OUT/images.csv where the images have to be divided first. Both are for the
user to read and to edit, and are taken as they are once they are there: a run that is refused
leaves none.
"""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from backbones.atomic import write_text_atomic
from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.labelled_csv import read_csv
from benchmarks.labelled_files import of_other_formats
from benchmarks.labelled_images import LabelledImages
from benchmarks.roots import resolve_root
from benchmarks.schema import load_benchmark
from eval.layout import make_writable
from eval.own_data import OwnData, plain_image, plain_path
from eval.own_parts import (
    BENCHMARK,
    IMAGES,
    divided,
    first_few,
    held_out_share,
    only,
    read_parts,
    whole,
)

NATIVE_SIDE = 224
SIDE_WITHOUT_GPU = 160
"""An epoch takes half as long as at 224 pixels."""
_STEP = 32  # the stride of the last level
_MOST_HEADERS = 500
_FEW_IMAGES = 10


@dataclass(frozen=True, kw_only=True)
class OwnBenchmark:
    """file: the benchmark's. said: lines for the user, on what was found and chosen. written: files
    and then folders that were not there before."""

    file: Path
    said: tuple[str, ...]
    written: tuple[Path, ...] = ()

    @contextmanager
    def gone_if_refused(self) -> Iterator[None]:
        """Whatever is raised inside: what was written is gone, so that no later call is bound by
        it."""
        try:
            yield
        except BaseException:
            _remove(self.written)
            raise


def own_benchmark(
    own: OwnData, out: Path, *, write_to: Path, gpu: bool, tolerate: int = 0
) -> OwnBenchmark:
    """The benchmark of these images in `out`, or else written to the folder `write_to`.

    own: `plain`. write_to: `out`, or a folder to look at the benchmark in. gpu: whether larger
    images are affordable. tolerate: how many unusable images may be left out.

    Raises ValueError (DataError) for images that cannot be used, for files in `out` that are of
    other images or contradict `own`, and where nothing can be written; writes nothing then.
    """
    there, listed = out / BENCHMARK, out / IMAGES
    if there.is_file():
        found = (*_check(own, there), *_other_formats(own), f"As {there} has it.")
        return OwnBenchmark(file=there, said=found)
    if listed.is_file():
        root: Path | None = listed
        said = [*_check_list(own, listed), f"{listed} is taken as it is."]
        train, test = read_parts(listed)
    else:
        root, train, test, said = divided(own.data)
    texts: dict[str, str] = {}
    if root is None:  # divided just now
        assert test is not None, "test images were set aside"
        problems = _unusable(own, train, test, tolerate)
        every = _to_csv(train, test)
        train, test = (_without(problems, images) for images in (train, test))
        texts[IMAGES] = every if write_to == out else _to_csv(train, test)
        if write_to != out:  # the check of all data would name a file that is not to stay
            said = [*said, *(f"left out, {problem}" for problem in problems.values())]
    share = held_out_share(train)
    _check_division(own, train, share)
    side, why = _image_side(own, [path for path, _ in train.samples], gpu)
    tests = 0 if test is None else len(test.samples)
    said = [
        f"Images: {len(train.samples):,} to learn from, {tests:,} test images, "
        f"{len(train.classes)} classes, in {own.data}",
        *said,
        *_other_formats(own),
        *_few(train),
        f"Image size: {side} pixels ({why}); --image-size N chooses another",
    ]
    if root is None or (root == listed and write_to == out):
        root = Path(IMAGES)  # beside the file
    texts[BENCHMARK] = _to_toml(own, root, side, share)
    written = _write(write_to, texts)
    return OwnBenchmark(file=write_to / BENCHMARK, said=tuple(said), written=written)


def _write(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """All of these files or none, each by its name; the new files, then the new folders."""
    places = (*(folder / name for name in texts), folder, *folder.parents)
    written = tuple(path for path in places if not os.path.lexists(path))
    try:
        make_writable(folder)
        for name, text in texts.items():
            write_text_atomic(folder / name, text)
    except BaseException:
        _remove(written)
        raise
    return written


def _remove(written: Sequence[Path]) -> None:
    for path in written:
        with suppress(OSError):  # a folder that is not empty stays
            path.rmdir() if path.is_dir() else path.unlink()


def _unusable(
    own: OwnData, train: LabelledImages, test: LabelledImages, tolerate: int
) -> dict[Path, str]:
    """What is wrong with each image that cannot be used, as `validate` would say of the images
    where they come from. DataError: more than `tolerate`, or a class has none to learn from."""
    from benchmarks.validation import listed, refuse_more_than

    problems: dict[Path, str] = {}
    for path in sorted(path for path, _ in (*train.samples, *test.samples)):
        try:
            check_image(path)
        except DataError as error:
            problems[path] = str(error)
    if not problems:
        return {}
    if own.is_list:
        rows = {plain_image(own.data.parent / row.image): row.line for row in read_csv(own.data)}
        problems = {
            path: f"{own.data}, line {line}: {problems[path]}"
            for path, line in rows.items()
            if path in problems
        }
    told = {str(path): problem for path, problem in problems.items()}
    refuse_more_than(tolerate, own.name, {"finetune": told})
    left = {label for path, label in train.samples if path not in problems}
    if lost := [name for label, name in enumerate(train.classes) if label not in left]:
        which = f"no usable training image of {first_few(lost)} is left in {own.data}"
        raise DataError(f"{which}\n{listed(told)}")
    return problems


def _without(problems: Mapping[Path, str], images: LabelledImages) -> LabelledImages:
    return only(images, [i for i, (p, _) in enumerate(images.samples) if p not in problems])


def _check_division(own: OwnData, train: LabelledImages, share: float) -> None:
    """Raises ValueError here and not in the job where the images cannot be divided so."""
    from classification.splits import make_folds

    make_folds(
        [label for _, label in train.samples],
        train.groups,
        validation="holdout" if own.folds is None else "kfold",
        folds=own.folds or 2,
        share=share,
        seed=0,
        classes=train.classes,
    )


def _image_side(own: OwnData, paths: Sequence[Path], gpu: bool) -> tuple[int, str]:
    """In pixels, and why."""
    if own.image_size is not None:
        return own.image_size, "as asked"
    step = max(1, len(paths) // _MOST_HEADERS)
    sides = []
    for path in paths[::step]:
        try:
            sides.append(min(check_image(path).shown))
        except DataError:
            continue  # the check of all data names it
    if not sides:
        raise DataError(f"none of the images in {own.data} can be read")
    median = int(statistics.median(sides))
    most = NATIVE_SIDE if gpu else SIDE_WITHOUT_GPU
    side = min(most, max(_STEP, _STEP * round(median / _STEP)))
    said = f"the images' shorter side is {median} at the median"
    if side < most:
        return side, said
    why = "most networks are made for" if gpu else "is what a CPU does in bearable time"
    return side, f"{said}, {side} {why}"


def _other_formats(own: OwnData) -> list[str]:
    """A line on images that are not read for their format, of those in folders."""
    said = {}
    if not own.is_list:
        splits = [path for name in ("train", "val", "test") if (path := own.data / name).is_dir()]
        said[own.data] = of_other_formats(*(splits or [own.data]))
    if own.unlabelled is not None:
        said[own.unlabelled] = of_other_formats(own.unlabelled)
    return [f"{place}: {what}" for place, what in said.items() if what]


def _few(train: LabelledImages) -> list[str]:
    counts = Counter(label for _, label in train.samples)
    few = [
        f"{name} ({counts[label]})"
        for label, name in enumerate(train.classes)
        if counts[label] < _FEW_IMAGES
    ]
    if not few:
        return []
    return [f"Warning: few images to learn from: {first_few(few)}; expect rough numbers"]


def _to_csv(train: LabelledImages, test: LabelledImages) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    grouped = train.groups is not None
    writer.writerow(["path", "label", "split", *(["group"] if grouped else [])])
    rows: list[list[str]] = []
    parts: tuple[tuple[str, LabelledImages], ...] = (("train", train), ("test", test))
    for split, images in parts:
        groups = images.groups or ("",) * len(images.samples)
        for (path, label), group in zip(images.samples, groups, strict=True):
            more = [group] if grouped else []
            rows.append([str(path.absolute()), images.classes[label], split, *more])
    rows.sort(key=lambda row: (row[1], row[0]))
    writer.writerows(rows)
    return text.getvalue()


def _to_toml(own: OwnData, root: Path, side: int, share: float) -> str:
    unlabelled = "" if own.unlabelled is None else f"unlabelled = {_quoted(own.unlabelled)}\n"
    if own.folds is None:
        division = (
            "# How the images to learn from are divided: this share of them stops the training\n"
            "# and chooses its weights, and is not learnt from.\n"
            f'validation = "holdout"\nvalidation_share = {share:g}\n'
        )
    else:
        division = (
            "# As many trainings, each validated on another part of the images to learn from;\n"
            "# their answers on the test images are averaged.\n"
            f'validation = "kfold"\nfolds = {own.folds}\n'
        )
    return (
        f"# Written by `trickle finetune` for {json.dumps(str(own.data), ensure_ascii=False)}.\n"
        "# It is taken as it is when the command is given again: edit it, or delete it to begin\n"
        "# anew. What changes a number here makes a new result and leaves the old ones.\n"
        f"name = {_quoted(own.name)}\n\n"
        "[finetune]\n"
        "# A folder (train/<class>/*, val/<class>/* of test images), or a CSV file with the\n"
        "# columns path, label, split (train or test) and, if images belong together, group.\n"
        f"root = {_quoted(root)}\n"
        f"{unlabelled}"
        "# In pixels: of the square that the networks see, and of the shorter side before it is\n"
        "# cut out for a test.\n"
        f"image_size = {side}\nresize_size = {round(side * 256 / 224)}\n"
        f"{division}"
        "# Times the recipe's epochs, as they stand in `trickle show SPEC~finetune`.\n"
        "epoch_scale = 1.0\n"
    )


def _quoted(value: Path | str) -> str:
    text = str(value)
    if isinstance(value, Path) and value.is_absolute():
        try:
            kept = resolve_root(text, None) == value
        except ValueError:
            kept = False
        if not kept:
            raise DataError(f"{text}: a benchmark's file takes $ for a variable; rename the folder")
    return json.dumps(text, ensure_ascii=False)


def _check(own: OwnData, file: Path) -> list[str]:
    """What there is to say of a benchmark's file that is there already; ValueError where it is of
    other images, or says something else than the command line."""
    budget = load_benchmark(file).finetune
    remedy = f"edit {file}, give another --out, or leave that option out"
    if budget is None:
        raise ValueError(f"{file} has no [finetune]: give another --out, or delete that file")
    given = {
        "--unlabelled": (own.unlabelled, budget.unlabelled and plain_path(budget.unlabelled)),
        "--image-size": (own.image_size, budget.image_size),
        "--folds": (own.folds, budget.folds if budget.validation == "kfold" else None),
    }
    for flag, (asked, has) in given.items():
        if asked is not None and asked != has:
            raise ValueError(f"{flag} {asked}, and {file} says {has or 'nothing of it'}: {remedy}")
    if plain_path(budget.root) == own.data:
        return []
    if budget.root.suffix.lower() != ".csv":
        raise ValueError(
            f"{file} is of other images, in {budget.root}: give another --out than {file.parent}, "
            "or delete that file"
        )
    return _check_list(own, budget.root)


def _check_list(own: OwnData, listed: Path) -> list[str]:
    """That the images of a list are those of the folder; how many of the folder's it leaves out."""
    known = {str((listed.parent / file.image).resolve()) for file in read_csv(listed)}
    root, train, test, _ = whole(own.data)
    found = {str(path.resolve()) for part in (train, test) if part for path, _ in part.samples}
    if not known & found:
        raise ValueError(
            f"{listed} is of other images than {root}: give another --out than {listed.parent}, or "
            f"delete {BENCHMARK} and {IMAGES} there"
        )
    new = len(found - known)
    if not new:
        return []
    return [f"{new:,} images of {root} are not in {listed}, and have no part in this"]
