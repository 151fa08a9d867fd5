"""A benchmark: three data sets and what may be spent on each, as read from a TOML file.

Nothing here imports numpy or torch, so that `--help`, `--list` and a wrong file answer at once.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    model_validator,
)
from pydantic import ValidationError as PydanticValidationError

from backbones.catalog import UnknownNameError, nearest
from benchmarks.cityscapes_labels import LABEL_IDS
from benchmarks.dataset_files import read_data
from benchmarks.errors import BenchmarkError, DataError
from benchmarks.packaged import PACKAGED
from benchmarks.roots import resolve_root
from benchmarks.world_spec import WorldSpec

STAGES = ("pretraining", "detection", "segmentation", "finetune")
OF_THIS_MACHINE = {"root", "unlabelled", "workers"}
"""Keys that differ between machines and leave the benchmark what it is."""
MOST_TOML_BYTES = 2**20
FOLDER_VARIABLE = "TRICKLE_BENCHMARK_FOLDER"
"""Where the file lies whose copy is read: its relative roots start there."""

PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Size = tuple[PositiveInt, PositiveInt]
ClassNames = Annotated[tuple[str, ...], Field(min_length=1)]
Splits = Annotated[tuple[str, ...], Field(min_length=1)]
Milestone = Annotated[float, Field(gt=0, lt=1)]

_CANNOT_TRAIN = (
    "no backbone can be trained on it; name finished ones, as timm:<model> or the path of an "
    "artifact"
)

SHRINK_FORMAT = 1
"""Counts up when shrunk copies (benchmarks/shrunk_images.py) change: then old ones are not taken,
and a pretraining on new ones is another one."""
SHRINK_QUALITY = 95


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _DataTable(_Table):
    """A table that names data."""

    root: Path
    _left_out: tuple[str, ...] = PrivateAttr(default=())

    @property
    def folder(self) -> Path:
        """What the paths of its files start at: the root."""
        return self.root

    @property
    def left_out(self) -> tuple[str, ...]:
        """Unusable images that are tolerated, as paths below `folder`, once the data is checked."""
        return self._left_out

    def places(self) -> dict[str, Path]:
        """The keys that name where data lies, with what they say."""
        return {"root": self.root}

    def leaving_out(self, images: Iterable[str]) -> Self:
        """The same budget for the data without these images."""
        copy = self.model_copy()
        copy._left_out = tuple(sorted(images))
        return copy

    def left_out_facts(self) -> dict[str, dict[str, str | int]]:
        """For a protocol: how many images are left out and sha256 of their names; else nothing."""
        if not self.left_out:
            return {}
        digest = hashlib.sha256("\n".join(self.left_out).encode()).hexdigest()
        return {"left_out": {"files": len(self.left_out), "digest": digest}}


class BackboneBudget(_Table):
    """`[backbone]`: how large the networks of this benchmark are."""

    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Multiplies every channel count of our own architectures; timm models are as they are."""


class ScaledBudget(_DataTable):
    """What pretraining and fine-tuning share: the size of an image, and what scales a recipe.

    The recipe holds epochs, batch size and learning rate; the three scales fit them to another
    amount of data (1.0 leaves the recipe as it is written).
    """

    image_size: PositiveInt = 224
    resize_size: PositiveInt = 256
    """Shorter side before the central crop of `image_size` at evaluation, in pixels."""
    epoch_scale: PositiveFloat = 1.0
    batch_size_scale: PositiveFloat = 1.0
    learning_rate_scale: PositiveFloat = 1.0
    workers: NonNegativeInt = 2

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.resize_size < self.image_size:
            raise ValueError(
                f"resize_size ({self.resize_size}) must be at least image_size "
                f"({self.image_size}): the crop is taken out of the resized image"
            )
        return self


class PretrainingBudget(ScaledBudget):
    """`[pretraining]`: ImageNet layout, `train/<class>/*.JPEG` and `val/<class>/*.JPEG`."""

    shrink_to: NonNegativeInt = 0
    """Shorter side of the copies that are trained on, in pixels; 0 trains on the images."""
    batch_norm: Literal["per_process", "global"] = "per_process"
    """Of several processes: sees the share of one, as the paper's 128 images of a GPU, or all."""

    @model_validator(mode="after")
    def _copies_are_large_enough(self) -> Self:
        if 0 < self.shrink_to < self.image_size:
            raise ValueError(
                f"shrink_to ({self.shrink_to}) must be at least image_size ({self.image_size}), "
                "or 0 to train on the images as they are"
            )
        return self

    def shrinking_facts(self) -> dict[str, int]:
        """What the training images are shrunk to, and how; else nothing."""
        if not self.shrink_to:
            return {}
        made = {"shrink_format": SHRINK_FORMAT, "shrink_quality": SHRINK_QUALITY}
        return {"shrink_to": self.shrink_to, **made}


class FineTuneBudget(ScaledBudget):
    """`[finetune]`: one's own labelled images, see benchmarks/labelled_files.py.

    root: a folder in the ImageNet layout (`train/<class>/*`, and `val/<class>/*` where there are
    test images), a folder of class folders, or a CSV file with the columns path and label.
    """

    unlabelled: Path | None = None
    """A folder of images without labels, searched with all its subfolders."""
    labelled_per_class: PositiveInt | None = None
    """Of each class only so many training images count as labelled, the same in every run; the
    others are unlabelled images."""
    recipe: Annotated[str, Field(min_length=1)] = "finetune"
    """What a backbone is fine-tuned with where its name does not say it after a `~`."""
    validation: Literal["holdout", "kfold", "repeated"] = "holdout"
    """How the training images are divided into those to fit and those to validate on."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Of kfold; how many hold-outs of repeated."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of the training images, in each hold-out of holdout and repeated."""

    def labelled_facts(self) -> dict[str, int]:
        """For a protocol: how many images of a class count as labelled, where not all do."""
        most = self.labelled_per_class
        return {} if most is None else {"labelled_per_class": most}

    @property
    def folder(self) -> Path:
        """What the paths of its files start at: the root, or the folder of a CSV file."""
        return self.root.parent if self.root.suffix.lower() == ".csv" else self.root

    def places(self) -> dict[str, Path]:
        places = super().places()
        return places if self.unlabelled is None else {**places, "unlabelled": self.unlabelled}


class _TestedBudget(_DataTable):
    """A table whose test may be done once more, on several views of each image."""

    test_time_scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = ()
    """Multiples of `image_size` at which a second test looks at each image; 1.0 is the first's."""
    test_time_flip: bool = False
    """Whether a second test looks at each view mirrored, too."""

    @model_validator(mode="after")
    def _views_differ(self) -> Self:
        if len(set(self.test_time_scales)) < len(self.test_time_scales):
            raise ValueError(
                f"test_time_scales names a scale more than once: {list(self.test_time_scales)}"
            )
        return self

    @property
    def view_scales(self) -> tuple[float, ...]:
        """Of the second test's views, each once; empty where there is no second test."""
        return self.test_time_scales or ((1.0,) if self.test_time_flip else ())

    @property
    def view_flips(self) -> tuple[bool, ...]:
        """Whether a view is mirrored, of those at each scale."""
        return (False, True) if self.test_time_flip else (False,)

    def test_time_facts(self) -> dict[str, dict[str, bool | list[float]]]:
        """For a protocol: the views of the second test; nothing where there is none."""
        if not self.view_scales:
            return {}
        return {"test_time": {"scales": list(self.view_scales), "flip": self.test_time_flip}}


NOT_IN_BUDGET = frozenset({"root", "workers", "layout", "test_time_scales", "test_time_flip"})
"""Keys that a fine-tuning's protocol does not show as part of its budget: they move no number, or
the protocol says them elsewhere, and only where they are set."""


class DetectionBudget(_TestedBudget):
    """`[detection]`: Pascal VOC layout, `<year>/{Annotations,ImageSets/Main,JPEGImages}`, or that
    of COCO, `<split>/*.jpg` and `annotations/instances_<split>.json`."""

    layout: Literal["voc", "coco"] = "voc"
    train: Splits
    """Splits to train on, in the VOC layout each `<year>/<image set>`, e.g. "VOC2007/trainval"; in
    COCO's the name of a folder, e.g. "train2017"."""
    test: str
    classes: ClassNames
    image_size: Size
    """(width, height): the largest size that an image is scaled to, in pixels."""
    keep_ratio: bool = True
    iterations: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup_iterations: NonNegativeInt = 0
    milestones: tuple[Milestone, ...] = (0.75,)
    """Fractions of `iterations` at which the learning rate falls to a tenth."""
    weight_decay: NonNegativeFloat = 1e-4
    gradient_clip: PositiveFloat | None = None
    """Largest L2 norm of the gradient; none by default, as in MMDetection's base configuration."""
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = 1
    norm_eval: bool = True
    anchor_scale: PositiveFloat = 8
    """Side of a level's anchors in strides of that level."""
    fpn_channels: PositiveInt = 256
    head_channels: PositiveInt = 1024
    rpn_proposals: PositiveInt = 1000
    rois_per_image: PositiveInt = 512
    metric: Literal["voc07_11point", "area", "coco"] = "voc07_11point"
    """Of mAP: Pascal VOC's two at IoU 0.5, or COCO's over IoU 0.50:0.95."""
    bbox_min_size: NonNegativeInt = 0
    """Training boxes with a side below this many pixels are ignored; 0 keeps all."""
    workers: NonNegativeInt = 2

    @model_validator(mode="after")
    def _consistent(self) -> DetectionBudget:
        for split in (*self.train, self.test):
            year, _, name = split.partition("/")
            if self.layout == "coco" and (not split or "/" in split or split in (".", "..")):
                raise ValueError(
                    f'a split of the COCO layout is the name of a folder, e.g. "val2017"; '
                    f"got {split!r}"
                )
            if self.layout == "voc" and (not year or not name or "/" in name):
                raise ValueError(
                    f'a split is "<year>/<image set>", e.g. "VOC2007/test"; got {split!r}'
                )
        _check_unique("classes", self.classes)
        _check_unique("train", self.train)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must ascend, got {list(self.milestones)}")
        return self

    def layout_facts(self) -> dict[str, str]:
        """For a protocol: how the boxes are written down, where it is not as Pascal VOC does."""
        return {} if self.layout == "voc" else {"layout": self.layout}


class SegmentationBudget(_TestedBudget):
    """`[segmentation]`: ADE20K layout, `{images,annotations}/{training,validation}`, or that of
    Cityscapes, `{leftImg8bit,gtFine}/{train,val}/<city>`.

    Annotations are index PNGs. ADE20K: 0 = other (ignored), 1..K = `classes` in their order.
    Cityscapes: the ids of its labels, those of which `classes` names are learnt.
    """

    layout: Literal["ade20k", "cityscapes"] = "ade20k"
    classes: ClassNames
    image_size: Size
    """(width, height): the largest size that an image is scaled to, keeping its ratio."""
    crop_size: Size
    iterations: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 5e-4
    power: PositiveFloat = 0.9
    """Of the polynomial decay of the learning rate."""
    output_stride: Literal[8, 16, 32] = 8
    auxiliary: bool = True
    head_channels: PositiveInt = 512
    """Of the FCN head; the auxiliary head has half of them."""
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = -1
    norm_eval: bool = False
    workers: NonNegativeInt = 2
    test_mode: Literal["whole"] = "whole"

    @model_validator(mode="after")
    def _consistent(self) -> SegmentationBudget:
        _check_unique("classes", self.classes)
        if len(self.classes) > 254:
            raise ValueError(f"an index PNG holds at most 254 classes, got {len(self.classes)}")
        unknown = [name for name in self.classes if name not in LABEL_IDS]
        if self.layout == "cityscapes" and unknown:
            raise ValueError(
                f"Cityscapes has no label {unknown[0]!r}; its labels: {', '.join(LABEL_IDS)}"
            )
        return self

    def layout_facts(self) -> dict[str, str]:
        """For a protocol: how the masks are written down, where it is not as ADE20K does."""
        return {} if self.layout == "ade20k" else {"layout": self.layout}


class Benchmark(_Table):
    """What a suite of backbones is compared on. Roots are absolute once the data is prepared."""

    name: str
    description: str = ""
    backbone: BackboneBudget = BackboneBudget()
    pretraining: PretrainingBudget | None = None
    detection: DetectionBudget | None = None
    segmentation: SegmentationBudget | None = None
    finetune: FineTuneBudget | None = None
    world: WorldSpec | None = None
    """`[world]`: the data is rendered from this; the roots are folders of the rendered world."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that this benchmark has a budget for, in the order they run."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def require_pretraining(self, why: str = _CANNOT_TRAIN) -> PretrainingBudget:
        """The budget for pretraining; BenchmarkError where there is none. why: it is needed."""
        if self.pretraining is None:
            raise BenchmarkError(f"benchmark {self.name} has no [pretraining]: {why}")
        return self.pretraining

    @model_validator(mode="after")
    def _has_a_stage(self) -> Self:
        if not self.stages:
            tables = ", ".join(f"[{stage}]" for stage in STAGES)
            raise ValueError(f"no data is named: at least one of {tables} is needed")
        return self


def _check_unique(key: str, names: tuple[str, ...]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{key} names {', '.join(repeated)} more than once")


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """Read a benchmark: one that comes with Trickle, by its name, or the path of a TOML file.

    Roots have `~`, `$VAR` and `${VAR:-default}` expanded and, where relative, are taken relative
    to the file's own folder. With a `[world]` table they stay relative: `ensure_ready` puts them
    into the folder that the world is rendered to. Whether the data is there is not checked here.

    Raises:
        UnknownNameError: no packaged benchmark and no file has this name.
        BenchmarkError: the file is not TOML or does not follow the schema; says which key.
    """
    return _read(benchmark_file(name_or_path))


def benchmark_file(name_or_path: str | Path) -> Path:
    """The TOML file that `load_benchmark` reads; raises UnknownNameError."""
    text = str(name_or_path)
    if text in PACKAGED:
        return Path(__file__).with_name(f"{text}.toml")
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise UnknownNameError(
            f"no benchmark file at {path.absolute()}; give an existing TOML file, or one of "
            f"{', '.join(PACKAGED)}"
        )
    raise UnknownNameError(
        f"unknown benchmark {text!r}; nearest: {', '.join(nearest(text, PACKAGED)) or 'none'}; "
        f"known: {', '.join(PACKAGED)}, or the path of a TOML file"
    )


def _read(path: Path) -> Benchmark:
    try:
        table = tomllib.loads(read_data(path, most_bytes=MOST_TOML_BYTES).decode("utf-8"))
    except DataError as error:
        raise BenchmarkError(str(error)) from error
    except (ValueError, RecursionError) as error:  # TOML, UTF-8, numbers or nesting without end
        raise BenchmarkError(f"{path} is not a TOML file: {error}") from error
    table.setdefault("name", path.stem)
    try:
        benchmark = Benchmark.model_validate(table)
    except PydanticValidationError as error:
        raise BenchmarkError(_explain(path, error)) from error
    _check_name(path, benchmark)
    folder = None
    if benchmark.world is None:
        folder = Path(os.environ.get(FOLDER_VARIABLE) or path.parent).absolute()
    updates = {}
    for stage in benchmark.stages:
        budget = getattr(benchmark, stage)
        try:
            places = {key: resolve_root(str(at), folder) for key, at in budget.places().items()}
        except ValueError as error:
            raise BenchmarkError(f"{path}: {stage}.root: {error}") from error
        updates[stage] = budget.model_copy(update=places)
    return benchmark.model_copy(update=updates)


def _check_name(path: Path, benchmark: Benchmark) -> None:
    """A record says its benchmark by name alone, and published numbers stand beside `paper`'s."""
    if benchmark.name not in PACKAGED:
        return
    packaged = benchmark_file(benchmark.name)
    if path.resolve() == packaged.resolve():
        return
    if _compared(benchmark) != _compared(_read(packaged)):
        raise BenchmarkError(
            f"{path}: the name {benchmark.name!r} is that of a benchmark that comes with Trickle, "
            "and this file differs from it in more than roots and workers; give it another name, "
            f'such as name = "my_{benchmark.name}"'
        )


def _compared(benchmark: Benchmark) -> dict[str, object]:
    """What makes it this benchmark, wherever its data lies."""
    elsewhere = dict.fromkeys(STAGES, OF_THIS_MACHINE)
    return benchmark.model_dump(exclude={"description": True, **elsewhere})


def _explain(path: Path, error: PydanticValidationError) -> str:
    """One line per wrong key, with the nearest known keys for one that does not exist."""
    lines = [f"{path} is not a valid benchmark:"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or "the file"
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            close = nearest(str(problem["loc"][-1]), known)
            hint = f"; nearest: {', '.join(close)}" if close else f"; known: {', '.join(known)}"
            lines.append(f"  {where}: no such key{hint}")
        elif problem["type"] == "missing":
            lines.append(f"  {where}: missing")
        else:
            given = problem["input"]
            shown = "" if isinstance(given, dict) else f" (given {given!r})"
            lines.append(f"  {where}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)


def _known_keys(location: tuple[int | str, ...]) -> tuple[str, ...]:
    tables: dict[tuple[int | str, ...], type[BaseModel]] = {
        (): Benchmark,
        ("backbone",): BackboneBudget,
        ("pretraining",): PretrainingBudget,
        ("detection",): DetectionBudget,
        ("segmentation",): SegmentationBudget,
        ("finetune",): FineTuneBudget,
        ("world",): WorldSpec,
    }
    table = tables.get(location)
    return tuple(table.model_fields) if table is not None else ()
