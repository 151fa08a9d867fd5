"""Manifold mixup: mixup of a hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from classification.tricks.mixup import check_alpha
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from classification.model import Classifier, Outputs


@dataclass(frozen=True)
class ManifoldMixup(Trick):
    """alpha: lambda is drawn from Beta(alpha, alpha), once per batch.

    layers: of these one is drawn for each batch, and what it gives is mixed: 0 the images, 1 the
    first stage of the backbone, and so on. The paper's are 0, 1 and 2.
    """

    alpha: float = 2.0
    layers: tuple[int, ...] = (0, 1, 2)

    name = "manifold_mixup"
    kind = "mixing"
    alternatives = "pairing"
    card = Card(
        paper="Verma et al. 2019, arXiv:1806.05236",
        section="section 2, Table 1; the hidden layers of Zhang et al. 2018, arXiv:1710.09412, "
        "section 3.8, Table 5",
        equation="Mix(g_k(x), g_k(x')), Mix(y, y') for a random layer k",
        effect="+1.18 for ResNet-50, where mixup gives +1.10 (Yun et al. 2019, arXiv:1905.04899, "
        "Table 3)",
        # A teacher would have to see the same hidden mixture; a compiled network does not see
        # hooks that come after its compilation.
        conflicts=("compile", "distillation"),
    )

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        # A file of the user's may give a list; a recipe's digest should not tell the two apart.
        object.__setattr__(self, "layers", tuple(self.layers))
        increasing = list(self.layers) == sorted(set(self.layers))
        if not self.layers or not increasing or self.layers[0] < 0:
            raise ValueError(f"layers must be 0 or above and increasing, not {self.layers}")

    def initialize(self, classifier: Classifier, *, seed: int) -> str | None:
        """Raises ValueError where this network's layers cannot be mixed."""
        backbone = classifier.backbone
        stages = _stages(backbone)
        if self.layers[-1] > len(stages):
            count = f"has {len(stages)} stages" if stages else "does not say its stages (`stages`)"
            raise ValueError(
                f"manifold_mixup cannot mix the layers {self.layers}: {backbone.architecture} "
                f"{count}. Use mixup, or a ResNet, whose stages are layers 1 to 4"
            )
        auxiliary = getattr(backbone, "auxiliary_level", None)
        if auxiliary is not None and self.layers[-1] > auxiliary + 1:
            raise ValueError(
                f"manifold_mixup cannot mix the layers {self.layers}: the auxiliary head of "
                f"{backbone.architecture} reads layer {auxiliary + 1}, so that its targets would "
                f"be mixed and its features not. Use layers up to {auxiliary + 1}"
            )
        return None

    def forward(
        self, classifier: Classifier, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Outputs, Tensor]:
        """The outputs with one layer's values mixed, and the targets (B, K) mixed alike."""
        import torch

        layer = self.layers[int(rng.integers(len(self.layers)))]
        lam = float(rng.beta(self.alpha, self.alpha))
        perm = torch.from_numpy(rng.permutation(len(images))).to(images.device)

        def mix(values: Tensor) -> Tensor:
            return values[perm].lerp(values, lam)

        if layer == 0:
            return classifier(mix(images)), mix(targets)
        calls = 0

        def mix_output(module: Any, inputs: Any, output: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return mix(output)

        hook = _stages(classifier.backbone)[layer - 1].register_forward_hook(mix_output)
        try:
            outputs = classifier(images)
        finally:
            hook.remove()
        assert calls == 1, f"stage {layer} was to run once and ran {calls} times"
        return outputs, mix(targets)


def _stages(backbone: Any) -> tuple[Any, ...]:
    return tuple(getattr(backbone, "stages", ()))
