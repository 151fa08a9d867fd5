"""The figure of each trick that has one: a function from an example of the trick to a drawing.

A trick has a figure where there is something true to see. The docstring is the caption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from docs.figures import (
    augmentation,
    efficiency,
    initialization,
    mixing,
    optimization,
    regularization,
    schedules,
    targets,
    view_changes,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing = Callable[[Any], "Figure"]
"""Takes the trick with example knobs."""

CURVES: dict[str, Drawing] = {
    "large_batch": efficiency.linear_scaling_line,
    "warmup": schedules.warmup,
    "cooldown": schedules.cooldown,
    "half_precision": efficiency.gradient_underflow,
    "ema": efficiency.averaged_walk,
    "zero_gamma": initialization.residual_growth,
    "step_decay": schedules.curves,
    "cosine_decay": schedules.curves,
    "exponential_decay": schedules.curves,
    "inverse_decay": schedules.curves,
    "linear_decay": schedules.curves,
    "polynomial_decay": schedules.curves,
    "warm_restarts": schedules.curves,
    "one_cycle": schedules.curves,
    "triangular": schedules.curves,
    "label_smoothing": targets.logit_gap,
    "distillation": targets.softened,
    "binary_cross_entropy": targets.binary_losses,
    "train_resolution": augmentation.apparent_sizes,
    "lookahead": optimization.slow_and_fast,
    "drop_path": regularization.survival,
    "gradient_clipping": regularization.clipped_norm,
    "xavier_initialization": initialization.signal,
    "kaiming_initialization": initialization.signal,
}
"""Saved as SVG."""

PICTURES: dict[str, Drawing] = {
    "mixup": mixing.mixup_pairs,
    "cut_mix": mixing.cut_mix_pairs,
    "mixup_or_cut_mix": mixing.switched,
    "input_mixup": mixing.input_pairs,
    "same_class_mixup": mixing.same_class_pairs,
    "nearest_neighbor_mixup": mixing.neighbor_pairs,
    "vicinal_noise": mixing.noisy,
    "auto_augment": augmentation.views,
    "fast_auto_augment": augmentation.views,
    "rand_augment": augmentation.rand_augment_views,
    "trivial_augment": augmentation.views,
    "aug_mix": augmentation.aug_mix_views,
    "color_scaling": augmentation.color_views,
    "pca_lighting": augmentation.lighting_views,
    "random_resized_crop": augmentation.crops,
    "evaluation_crop": augmentation.evaluation_crops,
    "repeated_augmentation": augmentation.repeated,
    "cutout": augmentation.erased,
    "random_erasing": augmentation.erased,
    "random_crop": view_changes.square_crops,
    "center_crop": view_changes.center_crops,
    "flips": view_changes.flipped,
    "rotation": view_changes.drawn,
    "affine": view_changes.drawn,
    "perspective": view_changes.drawn,
    "color_skew": view_changes.drawn,
    "invert": view_changes.done,
    "posterize": view_changes.bits,
    "solarize": view_changes.thresholds,
    "auto_contrast": view_changes.done,
    "equalize": view_changes.done,
    "grey": view_changes.shown_as,
    "color_space": view_changes.color_spaces,
    "per_image_normalization": view_changes.each_alone,
    "ben_graham": view_changes.shown_as,
    "alpha_channel": view_changes.with_alpha,
}
"""Saved as JPEG: the grain of the rendered images makes a PNG of them several times as large."""

FIGURES = CURVES | PICTURES


def suffix(name: str) -> str:
    return ".svg" if name in CURVES else ".jpg"
