"""TrickleBackbone, built by mmengine, MMDetection and MMSegmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import MODELS, Registry
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import ArtifactError, load_artifact, openmmlab
from backbones.obtain import obtain
from backbones.openmmlab import TrickleBackbone
from engine.mmcv_ops import install


@pytest.fixture(scope="module")
def timm_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifacts") / "small"
    obtain("scratch:timm:mobilenetv3_small_050", directory, seed=0)
    return directory


@pytest.fixture(scope="module", params=["mmengine", "mmdet", "mmseg"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "mmengine":
        return MODELS
    install()
    if request.param == "mmdet":
        from mmdet.registry import MODELS as MMDET

        return MMDET
    from mmseg.registry import MODELS as MMSEG

    return MMSEG


def config(artifact: Path, **arguments: Any) -> dict[str, Any]:
    return {"type": "TrickleBackbone", "artifact": str(artifact), **arguments}


def test_every_registry_builds_the_same_network(registry: Registry, artifact: Path) -> None:
    built = registry.build(config(artifact, out_indices=(0, 1, 2, 3))).eval()
    assert type(built) is TrickleBackbone
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(built(images), load_artifact(artifact)(images), strict=True):
            assert torch.equal(a, b)
    assert built.card.architecture == "resnet18d"


def test_a_config_registers_it_by_custom_imports(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(
        'custom_imports = dict(imports=["backbones.openmmlab"], allow_failed_imports=False)\n'
        f'backbone = dict(type="TrickleBackbone", artifact="{artifact}", frozen_stages=1)\n'
    )
    cfg = Config.fromfile(tmp_path / "config.py")
    assert type(MODELS.build(cfg.backbone)) is TrickleBackbone
    openmmlab.register()
    assert MODELS.module_dict["TrickleBackbone"] is TrickleBackbone


def test_a_taken_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS._module_dict, "TrickleBackbone", nn.Identity)
    with pytest.raises(ValueError, match="already"):
        openmmlab.register()


def test_out_indices_and_output_stride(artifact: Path) -> None:
    built = TrickleBackbone(artifact, out_indices=(1, 3), output_stride=8).eval()
    levels = built(torch.zeros(1, 3, 64, 64))
    assert [tuple(level.shape) for level in levels] == [(1, 32, 8, 8), (1, 128, 8, 8)]
    assert built.features.channels == (32, 128)
    assert built.features.strides == (8, 8)


@pytest.mark.parametrize(
    ("frozen_stages", "frozen"),
    [
        (-1, set()),
        (0, {"conv1", "bn1"}),
        (1, {"conv1", "bn1", "layer1"}),
        (2, {"conv1", "bn1", "layer1", "layer2"}),
        (4, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}),
    ],
)
@pytest.mark.parametrize("norm_eval", [False, True])
def test_frozen_stages_and_norm_eval(
    artifact: Path, frozen_stages: int, frozen: set[str], norm_eval: bool
) -> None:
    built = TrickleBackbone(artifact, frozen_stages=frozen_stages, norm_eval=norm_eval)
    for mode in (True, False, True):
        built.train(mode)
    for name, parameter in built.body.named_parameters():
        assert parameter.requires_grad == (name.partition(".")[0] not in frozen), name
    for name, module in built.body.named_modules():
        if isinstance(module, _BatchNorm):
            held = norm_eval or name.partition(".")[0] in frozen
            assert module.training == (not held), name


def test_held_statistics_and_frozen_weights_do_not_move(artifact: Path) -> None:
    built = TrickleBackbone(artifact, frozen_stages=1, norm_eval=False)
    parent = nn.ModuleDict({"backbone": built}).train()
    before = {name: t.clone() for name, t in built.body.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in parent.parameters() if p.requires_grad], lr=0.1)
    sum(level.square().mean() for level in built(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    for name, tensor in built.body.state_dict().items():
        moved = not torch.equal(tensor, before[name])
        assert moved == (name.partition(".")[0] not in {"conv1", "bn1", "layer1"}), name


def test_timms_models_freeze_what_makes_the_first_levels(timm_artifact: Path) -> None:
    built = TrickleBackbone(timm_artifact, frozen_stages=1, norm_eval=False).train()
    frozen = {n for n, p in built.body.named_parameters() if not p.requires_grad}
    # MobileNetV3-Small strides in conv_stem and in blocks.0, whose output is C2.
    assert {n.split(".")[1] for n in frozen} == {"conv_stem", "bn1", "blocks"}
    assert {n.split(".")[2] for n in frozen if ".blocks." in n} == {"0"}
    assert not built.body.get_submodule("body.bn1").training
    assert not built.body.get_submodule("body.blocks.0").training
    assert built.body.get_submodule("body.blocks.1").training


def test_init_weights_of_a_parent_changes_nothing(artifact: Path) -> None:
    """Not even where the parent's own init_cfg speaks of all convolutions."""

    class Parent(BaseModule):
        def __init__(self) -> None:
            super().__init__(init_cfg={"type": "Constant", "layer": "Conv2d", "val": 0.5})
            self.backbone = MODELS.build(config(artifact, frozen_stages=1))
            self.neck = nn.Conv2d(128, 8, 1)

    parent = Parent()
    expected = load_artifact(artifact).state_dict()
    parent.init_weights()
    assert (parent.neck.weight == 0.5).all()
    for name, tensor in parent.backbone.body.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_second_init_weights_does_not_undo_training(artifact: Path) -> None:
    built = TrickleBackbone(artifact)
    built.init_weights()
    with torch.no_grad():
        built.body.get_parameter("bn1.weight").fill_(7.0)
    built.init_weights()
    assert (built.body.get_parameter("bn1.weight") == 7).all()


@pytest.mark.filterwarnings("ignore:``build_loss`` would be deprecated")
@pytest.mark.filterwarnings("ignore:Default ``avg_non_ignore``")
def test_inside_a_detector_and_a_segmentor(artifact: Path) -> None:
    """The features inside the built models are the artifact's, after init_weights and training
    mode has been set and unset."""
    install()
    import mmseg.models  # noqa: F401
    from mmdet.registry import MODELS as MMDET
    from mmseg.registry import MODELS as MMSEG

    detector = MMDET.build(
        {
            "type": "mmdet.RetinaNet",
            "data_preprocessor": {"type": "mmdet.DetDataPreprocessor"},
            "backbone": config(artifact, frozen_stages=1),
            "neck": {"type": "mmdet.FPN", "in_channels": [16, 32, 64, 128]}
            | {"out_channels": 8, "num_outs": 5},
            "bbox_head": {
                "type": "mmdet.RetinaHead",
                "num_classes": 3,
                "in_channels": 8,
                "feat_channels": 8,
                "stacked_convs": 1,
                "anchor_generator": {
                    "type": "mmdet.AnchorGenerator",
                    "scales": [8],
                    "ratios": [1.0],
                    "strides": [4, 8, 16, 32, 64],
                },
            },
        }
    )
    segmentor = MMSEG.build(
        {
            "type": "mmseg.EncoderDecoder",
            "data_preprocessor": {"type": "mmseg.SegDataPreProcessor", "size": (64, 64)},
            "backbone": config(artifact, output_stride=8),
            "decode_head": {
                "type": "mmseg.FCNHead",
                "in_channels": 128,
                "channels": 8,
                "num_classes": 4,
                "norm_cfg": {"type": "BN"},
            },
            "test_cfg": {"mode": "whole"},
        }
    )
    images = torch.randn(1, 3, 64, 64)
    for model, output_stride in ((detector, 32), (segmentor, 8)):
        model.init_weights()
        model.train()
        model.eval()
        with torch.no_grad():
            expected = load_artifact(artifact, output_stride=output_stride)(images)
            for a, b in zip(model.backbone(images), expected, strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"init_cfg": {"type": "Pretrained"}}, "_delete_=True"),
        ({"frozen_stages": 5}, "frozen_stages"),
        ({"out_indices": (3, 1)}, "out_indices"),
        ({"out_indices": (4,)}, "out_indices"),
        ({"out_indices": ()}, "out_indices"),
        ({"output_stride": 4}, "8, 16 or 32"),
    ],
)
def test_wrong_arguments(artifact: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrickleBackbone(artifact, **arguments)


def test_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        TrickleBackbone(tmp_path / "nowhere")
