"""One example of every trick, for its page, the bench of overheads and the tests."""

from __future__ import annotations

import json
from typing import Any

from classification.tricks import TRICKS
from classification.tricks.trick import Trick

EXAMPLE_KNOBS: dict[str, dict[str, Any]] = {
    "large_batch": {"batch_size": 1024},
    "warmup": {"epochs": 5},
    "epochs": {"epochs": 200},
    "gradient_accumulation": {"steps": 4},
    "cooldown": {"epochs": 10},
    "ema": {"decay": 0.9999},
    "step_decay": {"milestones": (30, 60, 90)},
    "polynomial_decay": {"power": 2.0},
    "warm_restarts": {"period": 10.0, "multiplier": 2.0},
    "label_smoothing": {"epsilon": 0.1},
    "label_noise": {"fraction": 0.2},
    "distillation": {"teacher": "resnet152d_smooth", "temperature": 20},
    "binary_cross_entropy": {"threshold": 0.2},
    "mixup": {"alpha": 0.2},
    "cut_mix": {"alpha": 1.0},
    "mixup_or_cut_mix": {"mixup_alpha": 0.8, "cutmix_alpha": 1.0},
    "vicinal_noise": {"std": 0.05},
    "color_scaling": {"amount": 0.4},
    "pca_lighting": {"std": 0.1},
    "flips": {"horizontal": 0.5, "vertical": 0.5},
    "random_crop": {"fraction": 0.875},
    "center_crop": {"fraction": 0.875},
    "rotation": {"degrees": 15},
    "affine": {"degrees": 10, "shift": 0.1},
    "perspective": {"distortion": 0.3},
    "color_skew": {"gain": 0.2, "offset": 20},
    "invert": {"probability": 0.1},
    "posterize": {"bits": 4},
    "solarize": {"threshold": 128},
    "auto_contrast": {"probability": 0.2},
    "equalize": {"probability": 0.2},
    "grey": {"channels": 1},
    "color_space": {"space": "lab"},
    "rand_augment": {"num_ops": 2, "magnitude": 9},
    "aug_mix": {"severity": 3},
    "random_erasing": {"probability": 0.25},
    "cutout": {"size": 0.5},
    "repeated_augmentation": {"repeats": 3},
    "train_resolution": {"scale": 160 / 224},
    "evaluation_crop": {"fraction": 0.95},
    "optimizer": {"optimizer": "lamb", "learning_rate": 5e-3, "weight_decay": 0.02},
    "lookahead": {"alpha": 0.5, "k": 6},
    "weight_decay": {"value": 5e-5},
    "dropout": {"rate": 0.2},
    "drop_path": {"rate": 0.1},
    "l1_penalty": {"weight": 1e-6},
    "gradient_clipping": {"max_norm": 1.0},
    "found_learning_rate": {"rule": "valley"},
    "early_stopping": {"patience": 10},
    "pretrained": {"artifact": "runs/mini/artifacts/..."},
    "layer_decay": {"decay": 0.75},
    "gradual_unfreezing": {"epochs_per_stage": 1.0},
    "hidden_layers": {"units": (512,), "dropout": 0.5},
}
"""The knobs that an example names; where a trick is not listed, it has none that need naming."""


def usage(name: str) -> str:
    """The example as one writes it: `Mixup(alpha=0.2)`."""
    knobs = EXAMPLE_KNOBS.get(name, {})
    written = ", ".join(f"{knob}={_short(value)}" for knob, value in knobs.items())
    return f"{TRICKS[name].__name__}({written})"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return f"{value:.4g}" if isinstance(value, float) else repr(value)


EXAMPLES: dict[str, Trick] = {
    name: trick(**EXAMPLE_KNOBS.get(name, {})) for name, trick in TRICKS.items()
}
