"""Drop-path: stochastic depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from torch import nn

    from classification.model import Classifier

_ATTRIBUTES = ("drop_path", "drop_path1", "drop_path2")


def drop_path_rates(rate: float, blocks: int) -> list[float]:
    """The share of images that skip each block: linear from 0 in the first to `rate` in the last.

    Linear as in section 3 of Huang et al. 2016, whose first block already drops rate / blocks;
    0 there is timm's way. A single block is the first one, so it drops nothing.
    """
    return [rate * block / max(1, blocks - 1) for block in range(blocks)]


def residual_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks with a place for drop-path, in the network's order.

    A block has `drop_path`, as our ResNets do, or `drop_path1` and `drop_path2`, as timm's
    transformers do; the attribute is a module, or None where timm's block needs none.
    """
    return [module for module in network.modules() if _places(module)]


def _places(block: nn.Module) -> list[str]:
    from torch import nn

    absent = object()  # not None, which a block has where it drops nothing
    found = {name: getattr(block, name, absent) for name in _ATTRIBUTES}
    return [name for name, place in found.items() if place is None or isinstance(place, nn.Module)]


@dataclass(frozen=True)
class DropPath(Trick):
    """rate: share of the images whose residual branch is left out in the last block, in training.

    It grows linearly from 0 in the first block. What remains grows by 1 / (1 - rate), so that
    nothing is scaled in the evaluation.
    """

    rate: float = 0.1

    name = "drop_path"
    kind = "regularization"
    card = Card(
        paper="Huang et al. 2016, arXiv:1603.09382",
        section="section 3",
        equation="eq. 2 and 4",
        effect="CIFAR-10: 4.91 % test error with 1202 layers (rate 0.5); ImageNet not quoted here",
    )

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie in (0, 1), not {self.rate}")

    def initialize(self, classifier: Classifier, *, seed: int) -> str | None:
        from timm.layers import DropPath as DropPathLayer

        blocks = residual_blocks(classifier.backbone)
        if not blocks:
            return (
                f"drop_path: {classifier.backbone.architecture} has no residual blocks that can "
                "be left out; nothing was changed"
            )
        for block, rate in zip(blocks, drop_path_rates(self.rate, len(blocks)), strict=True):
            for place in _places(block):
                setattr(block, place, DropPathLayer(rate))
        return None
