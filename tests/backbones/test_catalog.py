from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backbones.catalog import (
    ARCHITECTURES,
    MINIMUM_SIZES,
    NATIVE_SIZES,
    RESNETS,
    UnknownNameError,
    check_architecture,
    nearest,
    parse_architecture,
)


def test_twenty_resnets_inception_and_mobilenet() -> None:
    assert len(set(RESNETS)) == len(RESNETS) == 20
    assert {"resnet18a", "resnet50d", "resnet152c"} <= set(RESNETS)
    assert (*RESNETS, "inception_v3", "mobilenet") == ARCHITECTURES


def test_sizes_are_those_of_known_architectures() -> None:
    assert NATIVE_SIZES == {"inception_v3": 299}
    assert set(MINIMUM_SIZES) <= set(ARCHITECTURES)


@pytest.mark.parametrize(("name", "parsed"), [("resnet18a", (18, "a")), ("resnet101c", (101, "c"))])
def test_parse(name: str, parsed: tuple[int, str]) -> None:
    assert parse_architecture(name) == parsed


@pytest.mark.parametrize("name", ["timm:resnet18.a1_in1k", "torchvision:resnet50", "resnet34b"])
def test_known_names_pass(name: str) -> None:
    check_architecture(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50", "resnet50a .*resnet50b .*resnet50c .*resnet50d"),
        ("resnet-101", "resnet101a .*resnet101d"),
        ("resnet50e", "nearest are .*resnet50"),
        ("restnet18d", "nearest are resnet18d"),
        ("inceptionv3", "nearest are inception_v3"),
        ("mobilenet_v1", "nearest are mobilenet"),
        ("vgg", "known: resnet18a"),
        ("timm:", "timm:<model>"),
        ("timm:../../etc", "timm:<model>"),
        ("", "known: "),
    ],
)
def test_unknown_names_say_the_nearest(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=said):
        check_architecture(name)


def test_a_foreign_model_has_no_depth() -> None:
    for name in ("timm:resnet18", "mobilenet"):
        with pytest.raises(UnknownNameError, match="resnet18a"):
            parse_architecture(name)


def test_nearest_is_ordered_and_limited() -> None:
    assert nearest("mixap", ["cosine", "mixup", "mixup_distill"], n=1) == ["mixup"]
    assert nearest("zzz", ["cosine", "mixup"]) == []


def test_names_and_cards_are_read_without_torch() -> None:
    code = (
        "import sys, backbones, backbones.atomic, backbones.catalog, backbones.features, "
        "backbones.preprocessing, backbones.card, backbones.provenance, backbones.obtain, "
        "backbones.usable, backbones.width; "
        "heavy = {'torch', 'timm', 'mmengine', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=True)


def test_the_package_offers_what_it_lists() -> None:
    import backbones

    for name in backbones.__all__:
        assert getattr(backbones, name) is not None
    assert dir(backbones) == sorted(backbones.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = backbones.no_such_name
