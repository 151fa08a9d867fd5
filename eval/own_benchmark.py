"""The benchmark file for a folder of labelled images: what `trickle finetune FOLDER` writes.

OUT/benchmark.toml, and OUT/images.csv where the images have to be divided first. Both are for the
user to read and to edit, and are taken as they are once they are there: a run that is refused
leaves none.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.atomic import write_text_atomic
from benchmarks.errors import DataError
from benchmarks.image_files import check_image
from benchmarks.labelled_csv import read_csv
from benchmarks.labelled_files import LAYOUTS, of_other_formats
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.packaged import PACKAGED
from benchmarks.roots import resolve_root
from benchmarks.schema import FineTuneBudget, load_benchmark
from classification.identity import safe_name
from eval.layout import make_writable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BENCHMARK = "benchmark.toml"
IMAGES = "images.csv"

TEST_SHARE = 0.2
DIVISION_SEED = 0
NATIVE_SIDE = 224
SIDE_WITHOUT_GPU = 160
"""An epoch takes half as long as at 224 pixels."""
_STEP = 32  # the stride of the last level
_MOST_HEADERS = 500
_FEW_IMAGES = 10
_SHOWN = 5


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
        data = _plain(self.data)
        name = safe_name(data.stem if self.is_list else data.name)
        return f"own_{name}" if name in PACKAGED else name

    def plain(self) -> OwnData:
        """The same, without `..` in its paths."""
        unlabelled = self.unlabelled and _plain(self.unlabelled)
        return replace(self, data=_plain(self.data), unlabelled=unlabelled)


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
        train, test = _read(listed)
    else:
        root, train, test, said = _divided(own.data)
    texts: dict[str, str] = {}
    if root is None:  # divided just now
        assert test is not None, "test images were set aside"
        problems = _unusable(own, train, test, tolerate)
        whole = _to_csv(train, test)
        train, test = (_without(problems, images) for images in (train, test))
        texts[IMAGES] = whole if write_to == out else _to_csv(train, test)
        if write_to != out:  # the check of all data would name a file that is not to stay
            said = [*said, *(f"left out, {problem}" for problem in problems.values())]
    share = _share(train)
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
    if root is None or root == listed:
        root = Path(IMAGES)
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


@lru_cache(maxsize=1024)
def _plain(path: Path) -> Path:
    """Absolute, without `..`: links stay as they are named, but for one that `..` follows."""
    if ".." not in path.parts:
        return path.absolute()
    plain, real = Path(os.path.abspath(path)), path.resolve()
    return plain if plain.resolve() == real else real


def _plain_image(path: Path) -> Path:
    """A link that is an image keeps its name."""
    return _plain(path.parent) / path.name


def _read(root: Path) -> tuple[LabelledImages, LabelledImages | None]:
    budget = FineTuneBudget(root=root)
    train = read_labelled(budget, "train")
    assert train is not None, "without training images it raises"
    return train, read_labelled(budget, "test")


def _divided(
    data: Path,
) -> tuple[Path | None, LabelledImages, LabelledImages | None, list[str]]:
    """The root of what is divided already (None: has to be written down), both splits, and what
    there is to say of it."""
    if not data.exists():
        raise DataError(f"nothing is at {data}: give a folder that holds {LAYOUTS}, or a CSV file")
    if (data / "train").is_dir() and (data / "test").is_dir():
        return (None, *_of_three_folders(data))
    train, test = _read(data)
    if test is not None:
        return data, train, test, []
    train, test = _set_aside(data, _with_plain_paths(train))
    how = "of each class the same share"
    if train.groups is not None:
        how = "of each class about the same share, groups kept whole"
    said = f"The test images were set aside now, {how}: {IMAGES} says which"
    return None, train, test, [said]


def _of_three_folders(data: Path) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """train/ and test/, and perhaps val/, whose images join those to learn from: the images to
    validate on are taken out of these."""
    names = [name for name in ("train", "val") if (data / name).is_dir()]
    parts = [(name, _read(data / name)[0]) for name in (*names, "test")]
    classes = tuple(sorted({name for _, part in parts for name in part.classes}))
    learnt = _joined([part for name, part in parts if name != "test"], classes)
    counts = Counter(label for _, label in learnt.samples)
    if lost := [name for label, name in enumerate(classes) if not counts[label]]:
        raise DataError(
            f"{data}: no training image of {_shown(lost)}, of which there are test images; every "
            "class needs images to learn from"
        )
    said = ["val/ joins train/: what is validated on is taken out of both"] * ("val" in names)
    return learnt, _joined([parts[-1][1]], classes), said


def _joined(parts: Sequence[LabelledImages], classes: tuple[str, ...]) -> LabelledImages:
    place = {name: label for label, name in enumerate(classes)}
    samples = [(path, place[part.classes[at]]) for part in parts for path, at in part.samples]
    return LabelledImages(classes=classes, samples=samples, groups=None)


def _with_plain_paths(images: LabelledImages) -> LabelledImages:
    samples = [(_plain_image(path), label) for path, label in images.samples]
    return replace(images, samples=samples)


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
        rows = {_plain_image(own.data.parent / row.image): row.line for row in read_csv(own.data)}
        problems = {
            path: f"{own.data}, line {line}: {problems[path]}"
            for path, line in rows.items()
            if path in problems
        }
    told = {str(path): problem for path, problem in problems.items()}
    refuse_more_than(tolerate, own.name, {"finetune": told})
    left = {label for path, label in train.samples if path not in problems}
    if lost := [name for label, name in enumerate(train.classes) if label not in left]:
        which = f"no usable training image of {_shown(lost)} is left in {own.data}"
        raise DataError(f"{which}\n{listed(told)}")
    return problems


def _without(problems: Mapping[Path, str], images: LabelledImages) -> LabelledImages:
    return _chosen(images, [i for i, (p, _) in enumerate(images.samples) if p not in problems])


def _set_aside(data: Path, images: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """A stratified fifth as test images, always the same one; groups stay whole."""
    from classification.splits import make_folds

    counts = Counter(label for _, label in images.samples)
    few = [name for label, name in enumerate(images.classes) if counts[label] < 3]
    if few and images.groups is None:
        raise DataError(
            f"{data}: fewer than 3 images of {_shown(few)}: a class needs one to learn from, one "
            "to validate on and one to test; add images, or leave the class out"
        )
    try:
        (fold,) = make_folds(
            [label for _, label in images.samples],
            images.groups,
            validation="holdout",
            folds=2,
            share=_share(images, TEST_SHARE),
            seed=DIVISION_SEED,
            classes=images.classes,
        )
    except ValueError as error:
        raise DataError(
            f"{data}: no test images could be set aside ({error}). Or say which they are: by "
            "folders train and test, or by the column split of a CSV file"
        ) from error
    return _chosen(images, fold.fit), _chosen(images, fold.validation)


def _chosen(images: LabelledImages, places: Sequence[int] | npt.NDArray[np.intp]) -> LabelledImages:
    chosen = [int(place) for place in places]
    groups = None if images.groups is None else tuple(images.groups[i] for i in chosen)
    return replace(images, samples=[images.samples[i] for i in chosen], groups=groups)


def _share(images: LabelledImages, least: float = 0.2) -> float:
    """Of a hold-out in which every class has an image."""
    fewest = min(Counter(label for _, label in images.samples).values())
    return min(0.5, max(least, math.ceil(100 / fewest) / 100))


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
    return [f"Warning: few images to learn from: {_shown(few)}; expect rough numbers"]


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
        "--unlabelled": (own.unlabelled, budget.unlabelled and _plain(budget.unlabelled)),
        "--image-size": (own.image_size, budget.image_size),
        "--folds": (own.folds, budget.folds if budget.validation == "kfold" else None),
    }
    for flag, (asked, has) in given.items():
        if asked is not None and asked != has:
            raise ValueError(f"{flag} {asked}, and {file} says {has or 'nothing of it'}: {remedy}")
    if _plain(budget.root) == own.data:
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
    root, train, test, _ = _whole(own.data)
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


def _whole(data: Path) -> tuple[Path, LabelledImages, LabelledImages | None, list[str]]:
    """As `_divided`, but without setting anything aside."""
    if (data / "train").is_dir() and (data / "test").is_dir():
        return (data, *_of_three_folders(data))
    if not data.exists():
        raise DataError(f"nothing is at {data}: give the folder of images that {BENCHMARK} is of")
    return (data, *_read(data), [])


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
