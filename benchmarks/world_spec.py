"""What the rendered world of the mini benchmark consists of: counts, sizes and difficulty."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
FractionRange = tuple[Fraction, Fraction]


class Difficulty(BaseModel):
    """The few knobs that decide how hard the world is; every range is [lowest, highest].

    Each one is a plain number in the benchmark file, so that a harder or an easier world is an
    edit of that file (and, by its digest, another folder in the cache).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hue_jitter: Fraction
    """Standard deviation of an object's hue around its class's palette, in turns of the wheel."""
    color_jitter: Fraction
    """Standard deviation of saturation and value around the palette, both in 0..1."""
    clutter: FractionRange
    """Clutter shapes behind the objects, per 1,000 pixels of image: [fewest, most]."""
    occlusion: Fraction
    """Chance that an object has a clutter shape in front of it, over its edge."""
    light: FractionRange
    """Strength of the directional light on an object: 0 is flat, 1 leaves the far side dark."""
    exposure: FractionRange
    """Depth of the image-wide changes of brightness, contrast and cast: [least, most]."""
    texture_contrast: FractionRange
    """How far a texture's two colors are from their mean: 1 keeps the palette's contrast."""
    mismatch: Fraction
    """Chance that a clutter shape wears a class's palette or texture (never both of one class)."""
    blur: FractionRange
    """Blur of the whole image, as a fraction of 1.5 pixels' sigma."""
    noise: FractionRange
    """Standard deviation of the sensor noise, as a fraction of the intensity range."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Difficulty:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name}: a range is [lowest, highest], got {list(value)}")
        return self


class TaskCounts(BaseModel):
    """One data set of the world: how many images and of what size, in pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: PositiveInt
    test: PositiveInt
    image_size: Annotated[int, Field(ge=32, le=1024)]
    objects: tuple[PositiveInt, PositiveInt] = (1, 1)
    """Objects in an image, [fewest, most]."""
    object_size: tuple[PositiveInt, PositiveInt]
    """Longest side of an object in pixels, [smallest, largest]."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> TaskCounts:
        for name in ("objects", "object_size"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: a range is [lowest, highest], got {[low, high]}")
        return self


class WorldSpec(BaseModel):
    """The whole rendered world. Every image is a pure function of this and of its own index."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: NonNegativeInt
    pretraining: TaskCounts
    detection: TaskCounts
    segmentation: TaskCounts
    difficulty: Difficulty
