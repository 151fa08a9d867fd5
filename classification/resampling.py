"""How images are resized for pretraining: one law for training and evaluation views.

Pillow's filters, whose kernels grow where the image shrinks, so that nothing aliases. Where it
grows, bilinear is what the detector's and the segmentor's images are resized with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.fast_paths import is_fast

if TYPE_CHECKING:
    import numpy as np

Interpolation = Literal["bilinear", "bicubic"]


def resize(
    image: np.ndarray, *, width: int, height: int, interpolation: Interpolation = "bilinear"
) -> np.ndarray:
    """(H, W, C) uint8 -> (height, width, C); `FAST_PATHS` says how close to Pillow's `resize`.

    Each channel for itself: a fourth is one more, by which colours are not weighted.
    """
    import numpy as np

    if not is_fast("resize"):
        from PIL import Image

        method = Image.Resampling[interpolation.upper()]
        if image.shape[2] == 4:
            channels = [
                Image.fromarray(image[..., c]).resize((width, height), method) for c in range(4)
            ]
            return np.stack([np.array(channel) for channel in channels], axis=2)
        return np.array(Image.fromarray(image).resize((width, height), method))
    grows = height >= image.shape[0] and width >= image.shape[1]
    if grows and interpolation == "bilinear":
        import cv2

        grown: np.ndarray = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return grown
    import torch
    from torch.nn.functional import interpolate

    # The batch comes first: torch would not see that (1, H, W, C) with a batch added after the
    # permutation lies channels-last, and give back planes.
    pixels = torch.from_numpy(np.array(image, order="C"))[None].permute(0, 3, 1, 2)
    resized = interpolate(
        pixels, (height, width), mode=interpolation, antialias=True, align_corners=False
    )
    return resized[0].permute(1, 2, 0).numpy()
