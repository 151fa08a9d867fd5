"""A checkpoint and a ready configuration file for MMDetection and MMSegmentation.

Where upstream has the same network, the checkpoint has its names and the configuration needs
nothing of ours. Elsewhere it takes a TrickleBackbone, which needs Trickle installed beside it.
"""

from __future__ import annotations

import shlex
import shutil
import textwrap
from pathlib import Path
from typing import Any

import torch

from backbones.artifact import load_artifact
from backbones.atomic import atomic_file, write_text_atomic
from backbones.base import Backbone
from backbones.card import CARD_NAME, README_NAME, WEIGHTS_NAME
from engine.finetuning import frozen, normalization, prepare_openmmlab
from eval.export.openmmlab_form import dilated_form, openmmlab_form, openmmlab_state
from eval.export.same_features import check_same, load_strictly, trial_images
from eval.export.source import Source
from eval.export.targets import ExportError, Use

CHECKPOINT = "backbone.pth"
CONFIGS = {"mmdet": "faster-rcnn_fpn_voc0712.py", "mmseg": "fcn_d8_ade20k.py"}
# Resolved by mmengine when the file is read: the folder can be moved.
_HERE = "{{ fileDirname }}"
_STRIDES = (4, 8, 16, 32)


def write_mmdet(source: Source, folder: Path) -> Use:
    """Writes configuration and weights; otherwise as `write_torchvision`."""
    _check_usable(source, "mmdet")
    held = frozen(source.card, frozen_stages=1, norm_eval=True)
    form = openmmlab_form(source.card, "mmdet")
    if isinstance(form, str):
        backbone, imports = _trickle_backbone(source, folder, output_stride=32, **held)
    else:
        _write_checkpoint(source, form, folder, source.backbone)
        backbone, imports = {**form, **held, **_pretrained()}, _PLAIN_IMPORTS
    text = _MMDET.format(
        title=_title(source, form),
        imports=imports,
        normalization=_normalization(source),
        backbone=_as_code(backbone, indent=8),
        channels=list(source.backbone.features.channels),
    )
    return _write_config(text, "mmdet", folder, form)


def write_mmseg(source: Source, folder: Path) -> Use:
    """Writes configuration and weights; otherwise as `write_torchvision`."""
    _check_usable(source, "mmseg")
    form = openmmlab_form(source.card, "mmseg")
    dilated = form if isinstance(form, str) else dilated_form(source.card, form)
    try:
        ours = load_artifact(source.directory, output_stride=8)
    except ValueError as error:
        raise ExportError(str(error)) from error
    if not isinstance(form, str):
        _write_checkpoint(source, form, folder, source.backbone)
    if isinstance(dilated, str):
        backbone, imports = _trickle_backbone(source, folder, output_stride=8, norm_eval=False)
        imports += '\nsync_bn = "torch"  # the normalizations of the backbone, on several GPUs'
    else:
        _write_checkpoint(source, dilated, folder, ours)
        norm = {"norm_cfg": dict(type="SyncBN", requires_grad=True), "norm_eval": False}
        backbone, imports = {**dilated, **norm, **_pretrained()}, _PLAIN_IMPORTS
    channels = source.backbone.features.channels
    text = _MMSEG.format(
        title=_title(source, dilated),
        imports=imports,
        normalization=_normalization(source),
        backbone=_as_code(backbone, indent=8),
        last=channels[3],
        auxiliary=channels[2],
    )
    return _write_config(text, "mmseg", folder, dilated)


def _check_usable(source: Source, scope: str) -> None:
    backbone = source.backbone
    if backbone.features.strides != _STRIDES or backbone.fixed_size is not None:
        raise ExportError(
            f"the configurations for {scope} train on images of many sizes and take levels at the "
            f"strides {_STRIDES}; {backbone.architecture} has {backbone.features.strides} and "
            f"takes images of {backbone.fixed_size or 'any'} pixels"
        )


def _write_checkpoint(source: Source, form: dict[str, Any], folder: Path, ours: Backbone) -> None:
    """The backbone's tensors under upstream's names, which compute the same there as `ours`."""
    prepare_openmmlab()
    arguments = dict(form)
    scope, _, name = arguments.pop("type").partition(".")
    if scope == "mmdet":
        from mmdet.models.backbones import resnet
    else:
        from mmseg.models.backbones import resnet
    state = openmmlab_state(source.card, source.backbone.state_dict())
    model = load_strictly(getattr(resnet, name)(**arguments), state)
    images = trial_images(129)
    with torch.no_grad():
        check_same(ours(images), model(images), what=f"{scope}'s {name}")
    with atomic_file(folder / CHECKPOINT) as file:
        torch.save({"meta": {}, "state_dict": state}, file)


def _trickle_backbone(source: Source, folder: Path, **arguments: Any) -> tuple[dict[str, Any], str]:
    """Copies the artifact, so that the folder is all that has to be taken along."""
    copy = folder / "artifact"
    copy.mkdir()
    for name in (CARD_NAME, WEIGHTS_NAME, README_NAME):
        if (source.directory / name).exists():
            shutil.copyfile(source.directory / name, copy / name)
    load_artifact(copy)
    backbone = {
        "type": "TrickleBackbone",
        "artifact": f"{_HERE}/artifact",
        "out_indices": (0, 1, 2, 3),
        **arguments,
    }
    return backbone, _TRICKLE_IMPORTS


def _pretrained() -> dict[str, Any]:
    return {"init_cfg": dict(type="Pretrained", checkpoint=f"{_HERE}/{CHECKPOINT}")}


def _normalization(source: Source) -> str:
    return _as_code(normalization(source.card), indent=8)


def _as_code(values: dict[str, Any], *, indent: int) -> str:
    """Keyword arguments, one a line."""
    return "\n".join(f"{' ' * indent}{key}={_code(value)}," for key, value in values.items())


def _code(value: Any) -> str:
    if isinstance(value, dict):
        return f"dict({', '.join(f'{k}={_code(v)}' for k, v in value.items())})"
    return repr(value)


def _title(source: Source, form: dict[str, Any] | str) -> str:
    lines = [f"Backbone: {source.card.architecture}, weights of sha256 {source.card.sha256}."]
    if isinstance(form, str):
        lines.append(
            "It is a TrickleBackbone, so Trickle has to be installed beside: " + form + "."
        )
    if source.card.preprocessing.interpolation != "bilinear":
        lines.append(
            f"Its images were resized {source.card.preprocessing.interpolation} in pretraining."
        )
    return "\n".join(textwrap.fill(line, 100) for line in lines)


def _write_config(text: str, scope: str, folder: Path, form: dict[str, Any] | str) -> Use:
    from mmengine.config import Config

    name = CONFIGS[scope]
    write_text_atomic(folder / name, text)
    # Read once as a user will, but without importing what custom_imports names.
    Config.fromfile(folder / name, import_custom_modules=False)
    needed = "# Trickle has to be installed there: the backbone is a TrickleBackbone\n"
    return lambda place: (
        f"{needed if isinstance(form, str) else ''}"
        f"# tools/train.py is upstream's own; the package has a copy in {scope}/.mim/tools\n"
        f"python tools/train.py {shlex.quote(str(place / name))}"
    )


_PLAIN_IMPORTS = """\
# With mmcv-lite and Trickle installed: mmcv's operators on torchvision's kernels. Not needed with
# a compiled mmcv, and nothing is lost where Trickle is not installed.
custom_imports = dict(imports=["engine.mmcv_lite"], allow_failed_imports=True)"""

_TRICKLE_IMPORTS = """\
custom_imports = dict(imports=["engine.mmcv_lite", "backbones.openmmlab"])"""

_MMDET = '''\
"""Faster R-CNN with FPN on Pascal VOC 2007 and 2012: MMDetection's own, with another backbone.

{title}
The data lies in data/VOCdevkit, or where data_root says.
"""

_base_ = "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py"

{imports}

model = dict(
    data_preprocessor=dict(
{normalization}
    ),
    backbone=dict(
        _delete_=True,
{backbone}
    ),
    neck=dict(in_channels={channels}),
)

# Upstream's file trains on no box below 32 pixels, which costs points (mmdetection#11541); here all
# boxes count.
data_root = "data/VOCdevkit/"
_trainval = [
    dict(
        type="mmdet.VOCDataset",
        data_root=data_root,
        ann_file=f"VOC{{year}}/ImageSets/Main/trainval.txt",
        data_prefix=dict(sub_data_root=f"VOC{{year}}/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=0, bbox_min_size=0),
        pipeline={{{{_base_.train_pipeline}}}},
    )
    for year in (2007, 2012)
]
train_dataloader = dict(dataset=dict(dataset=dict(datasets=_trainval)))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
'''

_MMSEG = '''\
"""FCN at output stride 8 on ADE20K: MMSegmentation's own, with another backbone.

{title}
The data lies in data/ade/ADEChallengeData2016, or where data_root says.
"""

_base_ = "mmseg::fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py"

{imports}

model = dict(
    pretrained=None,
    data_preprocessor=dict(
{normalization}
    ),
    backbone=dict(
        _delete_=True,
{backbone}
    ),
    decode_head=dict(in_channels={last}),
    auxiliary_head=dict(in_channels={auxiliary}),
)

data_root = "data/ade/ADEChallengeData2016"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
'''
