"""The ADE20K layout: `{images,annotations}/{training,validation}`, annotations as index PNGs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataset_files import DatasetFiles, require_folder
from benchmarks.errors import DataError
from benchmarks.image_files import check_image

LAYOUT = (
    "images/training/*.jpg, images/validation/*.jpg and a PNG of the same name for each in "
    "annotations/training, annotations/validation"
)
SPLITS = ("training", "validation")
IGNORED = 255
"""An index that counts as other too, beside 0."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedImage:
    """An image and its index PNG, as paths relative to the root."""

    image: str
    annotation: str


def list_split(root: Path, split: str) -> tuple[AnnotatedImage, ...]:
    """The pairs of `training` or `validation`, sorted by name.

    Raises DataError: a missing or empty folder; an image without annotation, or the reverse.
    """
    require_folder(root, f"a data set in the ADE20K layout: {LAYOUT}")
    for part in ("images", "annotations"):
        require_folder(root / part / split, f"a part of the ADE20K layout: {LAYOUT}")
    images = _stems(root / "images" / split, ".jpg")
    annotations = _stems(root / "annotations" / split, ".png")
    if not images:
        raise DataError(f"{root / 'images' / split} holds no images; expected {LAYOUT}")
    for stem in sorted(images - annotations):
        missing = root / "annotations" / split / f"{stem}.png"
        raise DataError(f"no annotation {missing} for {root / 'images' / split / stem}.jpg")
    for stem in sorted(annotations - images):
        missing = root / "images" / split / f"{stem}.jpg"
        raise DataError(f"no image {missing} for {root / 'annotations' / split / stem}.png")
    return tuple(
        AnnotatedImage(
            image=f"images/{split}/{stem}.jpg", annotation=f"annotations/{split}/{stem}.png"
        )
        for stem in sorted(images)
    )


def list_files(root: Path) -> DatasetFiles:
    """The images and annotations of both splits."""
    pairs = [pair for split in SPLITS for pair in list_split(root, split)]
    return DatasetFiles(
        root=root,
        images=tuple(pair.image for pair in pairs),
        annotations=tuple(pair.annotation for pair in pairs),
    )


def check_files(root: Path, classes: int) -> tuple[str, ...]:
    """Check that images and annotations are whole, fit each other, and hold 0..`classes` or 255.

    Decodes every annotation. Raises DataError naming the file. No warnings.
    """
    for split in SPLITS:
        for pair in list_split(root, split):
            image, annotation = root / pair.image, root / pair.annotation
            size, annotated = check_image(image), check_image(annotation)
            if size != annotated:
                raise DataError(
                    f"{annotation} has {annotated[0]}x{annotated[1]} pixels, its image {image} "
                    f"{size[0]}x{size[1]}; an annotation has one pixel per pixel"
                )
            _check_indices(annotation, classes)
    return ()


def _check_indices(annotation: Path, classes: int) -> None:
    # Pillow keeps the indices of a palette PNG; OpenCV would turn them into colours.
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(annotation) as image:
            if image.mode not in ("L", "P"):
                raise DataError(
                    f"{annotation} has mode {image.mode}; an annotation is a PNG of one 8-bit "
                    "index per pixel (greyscale or palette)"
                )
            counts = image.histogram()
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise DataError(f"{annotation} cannot be decoded: {error}") from error
    unknown = [i for i, n in enumerate(counts[:IGNORED]) if n and i > classes]
    if unknown:
        raise DataError(
            f"{annotation} holds index {unknown[0]}, the benchmark names {classes} classes "
            f"(1..{classes}; 0 is other)"
        )


def _stems(folder: Path, suffix: str) -> set[str]:
    return {
        name.removesuffix(suffix)
        for name in os.listdir(folder)
        if name.endswith(suffix) and not name.startswith(".")
    }
