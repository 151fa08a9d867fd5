"""The one reader of images as a first transform of OpenMMLab's pipelines; see benchmarks/pixels.py.

Detection and segmentation register it in MMDetection's and MMSegmentation's TRANSFORMS, in place
of mmcv's LoadImageFromFile, which reads whatever OpenCV takes, of any size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform

from benchmarks.pixels import read_bgr


class LoadPixels(BaseTransform):
    """`img_path` -> `img` (H, W, 3) BGR uint8, `img_shape`, `ori_shape`. Raises DataError."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = read_bgr(Path(results["img_path"]))
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results
