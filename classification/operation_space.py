"""How far the operations of an augmentation policy go: from a strength in [0, 1] to a number."""

from __future__ import annotations

from dataclasses import dataclass

PARAMETERLESS = frozenset({"identity", "auto_contrast", "invert", "equalize"})
"""Operations that have no number: they are done or not."""

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
ENHANCING = ("brightness", "color", "contrast", "sharpness")


@dataclass(frozen=True, kw_only=True)
class OperationSpace:
    """Operations, and the number of each at full strength.

    shear: factor. translate_pixels, translate_share: pixels, and share of the side, of which one
    is 0. rotate: degrees. enhance: brightness and its like go from 1 to 1 + enhance or
    1 - enhance. posterize: bits kept at no and at full strength. Solarize's threshold falls from
    255 to 0.
    """

    operations: tuple[str, ...]
    shear: float
    translate_pixels: float = 0.0
    translate_share: float = 0.0
    rotate: float
    enhance: float
    posterize: tuple[int, int]

    def argument(
        self, name: str, strength: float, *, sign: int, height: int, width: int
    ) -> float | None:
        """The number that `operate` takes for an operation; None where it takes none.

        strength: in [0, 1]. sign: 1 or -1, the direction of what has two. height, width: of the
        image, in pixels; a translation is cut to whole pixels.
        """
        if name in PARAMETERLESS:
            return None
        if name in ("shear_x", "shear_y"):
            return sign * strength * self.shear
        if name in ("translate_x", "translate_y"):
            side = width if name == "translate_x" else height
            return sign * int(strength * (self.translate_pixels + self.translate_share * side))
        if name == "rotate":
            return sign * strength * self.rotate
        if name in ENHANCING:
            return 1 + sign * strength * self.enhance
        if name == "posterize":
            least, most = self.posterize
            return least - round(strength * (least - most))
        assert name == "solarize", name
        return 255 * (1 - strength)
