"""The names of the architectures, and what is said to someone who mistypes one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

DEPTHS: tuple[int, ...] = (18, 34, 50, 101, 152)
VARIANTS: tuple[str, ...] = ("a", "b", "c", "d")

RESNETS: tuple[str, ...] = tuple(
    f"resnet{depth}{variant}" for depth in DEPTHS for variant in VARIANTS
)

CLASSES: dict[str, str] = {
    "inception_v3": "InceptionV3",
    "mobilenet": "MobileNet",
}
"""Architectures beside the ResNets: each is a class in the module of its name. See
docs/extending.md."""

ARCHITECTURES: tuple[str, ...] = (*RESNETS, *CLASSES)

TORCHVISION_MODELS: tuple[str, ...] = tuple(f"resnet{depth}" for depth in DEPTHS)

NATIVE_SIZES: dict[str, int] = {"inception_v3": 299}
"""Side in pixels of the images that an architecture is designed for, where it is not 224."""

MINIMUM_SIZES: dict[str, int] = {"inception_v3": 75}
"""Side of the smallest image that an architecture can classify, where there is such a limit."""

_RESNET = re.compile(r"resnet(\d+)([a-z])")
_FOREIGN = re.compile(r"(timm|torchvision):[A-Za-z0-9_.\-]+")


class UnknownNameError(ValueError):
    """A name that nothing bears; the message says the nearest ones."""


def nearest(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """The at most `n` names in `known` that look most like `name`, the most alike first."""
    return difflib.get_close_matches(name, list(known), n=n, cutoff=0.5)


def check_architecture(name: str) -> None:
    """Accepts a name of `ARCHITECTURES`, `timm:<model>` or `torchvision:<model>`.

    The last two are only checked for their form: whether timm has such a model is known when
    timm is imported, which takes seconds. Raises UnknownNameError with the nearest names.
    """
    if name in ARCHITECTURES or _FOREIGN.fullmatch(name):
        return
    if name.startswith(("timm:", "torchvision:")):
        package = name.partition(":")[0]
        raise UnknownNameError(
            f"{name!r} does not name a {package} model: expected {package}:<model>, "
            f"for example {package}:resnet50"
        )
    if (bare := re.fullmatch(r"resnet-?(\d+)", name)) and int(bare[1]) in DEPTHS:
        depth = bare[1]
        raise UnknownNameError(
            f"{name!r} is four architectures; say which: resnet{depth}a (the paper's original "
            f"ResNet-{depth}), resnet{depth}b (torchvision's), resnet{depth}c (three 3x3 "
            f"convolutions as stem), resnet{depth}d (and average-pooled shortcuts)"
        )
    close = nearest(name, ARCHITECTURES)
    hint = f"the nearest are {', '.join(close)}" if close else f"known: {', '.join(ARCHITECTURES)}"
    raise UnknownNameError(
        f"unknown architecture {name!r}: {hint}; or timm:<model>, torchvision:<model>"
    )


def parse_architecture(name: str) -> tuple[int, str]:
    """Depth and variant of a ResNet: "resnet50d" -> (50, "d").

    Raises UnknownNameError for any name that is not in `RESNETS`.
    """
    check_architecture(name)
    match = _RESNET.fullmatch(name)
    if match is None:
        raise UnknownNameError(f"{name!r} is not one of {', '.join(RESNETS)}")
    return int(match[1]), match[2]
