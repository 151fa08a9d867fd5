"""`TrickleBackbone`: any artifact as a backbone of MMDetection and MMSegmentation.

    custom_imports = dict(imports=["backbones.openmmlab"])
    backbone = dict(type="TrickleBackbone", artifact="DIR", out_indices=(0, 1, 2, 3),
                    frozen_stages=1, norm_eval=True, output_stride=32)

It is registered at mmengine's root registry, from which both packages' registries inherit, under a
name that neither of them has; so the default scope does not matter.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.artifact import load_artifact, load_backbone_state
from backbones.card import Card
from backbones.features import FeatureSpec

NAME = "TrickleBackbone"


class TrickleBackbone(BaseModule):
    """The artifact's own module under `body`, with the arguments OpenMMLab's users know.

    artifact: its directory. out_indices: which of C2..C5 (0..3) forward returns. frozen_stages:
    -1 none, 0 the stem, k the stem and the first k stages: their parameters take no gradient and
    their normalizations stay in eval mode. norm_eval: all batch normalizations stay in eval mode.
    output_stride: 32, 16 or 8. `features` describes what forward returns, `card` the weights.
    Raises ArtifactError for an artifact that is missing or does not fit, ValueError for the rest.
    """

    is_init: bool  # mmengine's: whether init_weights has run

    def __init__(
        self,
        artifact: str | os.PathLike[str],
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = True,
        output_stride: int = 32,
        init_cfg: Any = None,
    ) -> None:
        if init_cfg is not None:
            raise ValueError(
                f"TrickleBackbone takes its weights from artifact={os.fspath(artifact)!r} and no "
                f"init_cfg, got {init_cfg!r}; where a base config sets one, replace the backbone "
                f"as a whole with _delete_=True"
            )
        super().__init__()
        self.out_indices = _check_out_indices(out_indices)
        if frozen_stages not in range(-1, 5):
            raise ValueError(f"frozen_stages is -1, 0, 1, 2, 3 or 4, got {frozen_stages!r}")
        self.artifact = Path(artifact).absolute()
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.body = load_artifact(self.artifact, output_stride=output_stride)
        self.body.preprocessing.check_rgb("a detector or segmentor")
        self._freeze()
        self.train()

    @property
    def features(self) -> FeatureSpec:
        """Channels and strides of the levels that forward returns."""
        return self.body.features.select(self.out_indices)

    @property
    def card(self) -> Card:
        """The artifact's card."""
        assert self.body.card is not None, "load_artifact sets it"
        return self.body.card

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W), preprocessed as the card says -> the chosen levels of C2..C5."""
        levels = self.body(x)
        return tuple(levels[i] for i in self.out_indices)

    def init_weights(self) -> None:
        """Puts the artifact's weights back, over whatever a parent's init_cfg wrote on them.

        mmengine calls this once, before a checkpoint is loaded; later calls do nothing.
        """
        if self.is_init:
            return
        self.body.load_state_dict(load_backbone_state(self.artifact), strict=True)
        self.is_init = True

    def train(self, mode: bool = True) -> TrickleBackbone:
        """Sets the mode, except for what is frozen and, with norm_eval, batch normalizations."""
        super().train(mode)
        if not mode:
            return self
        for module in self.body.modules():
            held = self.norm_eval and isinstance(module, _BatchNorm)
            if held or (self.frozen_stages >= 0 and _is_frozen(module)):
                module.eval()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages >= 0:
            for parameter in self.body.parameters_until(self.frozen_stages):
                parameter.requires_grad_(False)


def register() -> None:
    """Registers TrickleBackbone at mmengine's root registry; a second call changes nothing.

    Importing this module does it, because `custom_imports` can only import. Raises ValueError
    where the name is taken by another class.
    """
    registered = MODELS.module_dict.get(NAME)
    if registered is TrickleBackbone:
        return
    if registered is not None:
        raise ValueError(f"mmengine's MODELS already has a {NAME}: {registered!r}")
    MODELS.register_module(name=NAME, module=TrickleBackbone)


def _is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters and none of them takes a gradient."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _check_out_indices(out_indices: Sequence[int]) -> tuple[int, ...]:
    indices = tuple(out_indices)
    if not indices or list(indices) != sorted(set(indices) & set(range(4))):
        raise ValueError(
            f"out_indices are some of 0, 1, 2, 3 (C2 to C5) in this order, got {indices}"
        )
    return indices


register()
