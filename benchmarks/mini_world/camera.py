"""From the picture to the photograph: exposure, cast, blur, noise."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.mini_world.arrays import Picture, clip01, sensor_noise, within
from benchmarks.world_spec import Difficulty


def expose(
    picture: Picture, difficulty: Difficulty, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB uint8, one draw of exposure, contrast, color cast, blur and noise each."""
    depth = within(rng, difficulty.exposure)
    gain = np.exp(rng.uniform(-1.2, 0.8) * depth + rng.normal(0, 0.35 * depth, (3, 1, 1)))
    contrast = 1 + depth * rng.uniform(-1.0, 0.6)
    gained = picture * gain.astype(np.float32)
    middle = gained.mean(dtype=np.float32)
    gained = middle + np.float32(contrast) * (gained - middle)
    sigma = 1.5 * within(rng, difficulty.blur)
    if sigma > 0.3:
        for plane in gained:
            cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane)
    gained += np.float32(within(rng, difficulty.noise)) * sensor_noise(rng, gained.shape)
    gained = clip01(gained) * np.float32(255) + np.float32(0.5)
    return np.ascontiguousarray(gained.astype(np.uint8).transpose(1, 2, 0))
