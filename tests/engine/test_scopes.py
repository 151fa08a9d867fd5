"""With both packages imported, each configuration is built by the package it was written for."""

from __future__ import annotations

from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from engine.mmcv_ops import install

install()
from engine.scopes import prefix_types  # noqa: E402


def test_only_what_the_package_registers_gets_its_scope() -> None:
    config = {
        "model": {
            "type": "FasterRCNN",
            "backbone": {"type": "TrickleBackbone", "artifact": "FPN"},
            "neck": {"type": "FPN", "norm_cfg": {"type": "BN"}},
            "roi_layer": {"type": "RoIAlign"},
            "loss": {"type": "mmseg.CrossEntropyLoss"},
        },
        "optimizer": {"type": "SGD", "lr": 0.1},
        "loop": {"type": dict},
        "pipeline": ({"type": "LoadImageFromFile"}, [{"type": "LoadAnnotations"}]),
        "type": None,
    }
    before = deepcopy(config)
    assert prefix_types(config, "mmdet") == {
        "model": {
            "type": "mmdet.FasterRCNN",
            "backbone": {"type": "TrickleBackbone", "artifact": "FPN"},
            "neck": {"type": "mmdet.FPN", "norm_cfg": {"type": "BN"}},
            "roi_layer": {"type": "RoIAlign"},
            "loss": {"type": "mmseg.CrossEntropyLoss"},
        },
        "optimizer": {"type": "SGD", "lr": 0.1},
        "loop": {"type": dict},
        "pipeline": ({"type": "LoadImageFromFile"}, [{"type": "mmdet.LoadAnnotations"}]),
        "type": None,
    }
    assert config == before


def test_a_config_dict_stays_one_and_a_second_call_changes_nothing() -> None:
    once = prefix_types(ConfigDict(model={"type": "FCNHead", "test_cfg": {}}), "mmseg")
    assert once.model.type == "mmseg.FCNHead"
    assert isinstance(once.model.test_cfg, ConfigDict)
    assert prefix_types(once, "mmseg") == prefix_types(once, "mmdet") == once


@pytest.fixture(scope="module", autouse=True)
def both_packages() -> None:
    for package in ("mmdet", "mmseg"):
        import_module(f"{package}.utils").register_all_modules(init_default_scope=False)


@pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore)")
@pytest.mark.parametrize("registry", ["mmdet.registry", "mmseg.registry", "mmengine.registry"])
@pytest.mark.parametrize(
    ("scope", "other", "config"),
    [
        ("mmdet", "mmseg", {"type": "FPN", "in_channels": [8], "out_channels": 8, "num_outs": 1}),
        ("mmdet", "mmseg", {"type": "ResNet", "depth": 18}),
        ("mmdet", "mmseg", {"type": "CrossEntropyLoss"}),
        ("mmseg", "mmdet", {"type": "ResNet", "depth": 18}),
        ("mmseg", "mmdet", {"type": "FCNHead", "in_channels": 8, "channels": 8, "num_classes": 3}),
    ],
)
def test_parts_are_built_from_their_own_package(
    registry: str, scope: str, other: str, config: dict[str, Any]
) -> None:
    build = import_module(registry).MODELS.build
    with DefaultScope.overwrite_default_scope(other):
        built = build(prefix_types(config, scope))
    assert type(built).__module__.split(".")[0] == scope


@pytest.mark.filterwarnings("ignore:.*(build_loss|avg_non_ignore)")
@pytest.mark.parametrize(
    ("scope", "other", "file"),
    [("mmdet", "mmseg", "faster-rcnn_r50_fpn.py"), ("mmseg", "mmdet", "fcn_r50-d8.py")],
)
def test_models_are_built_from_their_own_package(scope: str, other: str, file: str) -> None:
    folder = Path(import_module(scope).__path__[0], ".mim/configs/_base_/models")
    config = Config.fromfile(folder / file).model
    config.backbone.init_cfg = None
    config.pop("pretrained", None)
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(prefix_types(config, scope))
    packages = {type(module).__module__.split(".")[0] for module in model.modules()}
    assert scope in packages
    assert other not in packages


def test_without_scopes_the_default_scope_decides() -> None:
    """The trap: mmdet's own registry builds mmseg's ResNet."""
    config = {"type": "ResNet", "depth": 18}
    with DefaultScope.overwrite_default_scope("mmseg"):
        build = import_module("mmdet.registry").MODELS.build
        assert type(build(dict(config))).__module__.startswith("mmseg.")
        assert type(build(prefix_types(config, "mmdet"))).__module__.startswith("mmdet.")


def test_an_unknown_package_is_named() -> None:
    with pytest.raises(ModuleNotFoundError, match="mmpose"):
        prefix_types({}, "mmpose")
