"""What a suite will ask, checked before training: reasons in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backbones.catalog import ARCHITECTURES, UnknownNameError
from backbones.usable import check_usable

MINI: dict[str, Any] = {
    "image_sizes": {"pretraining": (64, 64), "detection": (128, 128), "segmentation": (96, 96)},
    "output_stride": 8,
}
PAPER: dict[str, Any] = {
    "image_sizes": {"pretraining": (224, 224), "detection": None, "segmentation": (512, 512)},
    "output_stride": 8,
}


@pytest.mark.parametrize("name", [*ARCHITECTURES, "torchvision:resnet50"])
def test_our_own_can_do_what_the_benchmarks_ask(name: str) -> None:
    check_usable(name, **PAPER)
    if name != "inception_v3":
        check_usable(name, **MINI)


def test_inception_needs_75_pixels_to_classify() -> None:
    with pytest.raises(ValueError, match=r"inception_v3 .*64 x 64 .*75 x 75"):
        check_usable("inception_v3", **MINI)
    check_usable("inception_v3", image_sizes={"pretraining": (75, 75), "detection": (64, 64)})


def test_our_own_are_answered_without_torch() -> None:
    code = (
        "import sys; from backbones.usable import check_usable\n"
        "for name in ('resnet50d', 'inception_v3', 'mobilenet', 'torchvision:resnet18'):\n"
        "    check_usable(name, image_sizes={'pretraining': (80, 80)}, output_stride=8)\n"
        "heavy = {'torch', 'timm', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=True)


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit"])
def test_models_of_timm_that_can(name: str) -> None:
    check_usable(name, **MINI)
    check_usable(name, **PAPER)


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("timm:levit_128s", {}, "224 x 224 pixels only and detection has images of many sizes"),
        ("timm:levit_128s", {"image_sizes": {"pretraining": (64, 64)}}, "only and pretraining"),
        ("timm:vgg11", {}, "no dilated form"),
        pytest.param(
            "timm:inception_v3",
            {"image_sizes": {"pretraining": (64, 64)}},
            "64 x 64",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_models_of_timm_that_cannot_say_why(name: str, asked: dict[str, Any], said: str) -> None:
    asked = asked or {**PAPER}
    if "levit" in name:
        asked.pop("output_stride", None)
    with pytest.raises(ValueError, match=said) as caught:
        check_usable(name, **asked)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_of_one_size_may_be_used_at_it() -> None:
    check_usable("timm:resmlp_12_224", image_sizes={"pretraining": (224, 224)})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50", "resnet50d"),
        ("inception", "inception_v3"),
        ("timm:resnat18", "resnet18"),
        ("torchvision:vgg16", "resnet50"),
    ],
)
def test_unknown_names_say_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        check_usable(name, **MINI)


def test_the_global_generator_is_left_alone() -> None:
    import torch

    before = torch.get_rng_state()
    check_usable("timm:test_vit", image_sizes={"pretraining": (96, 96)})
    assert torch.equal(torch.get_rng_state(), before)
