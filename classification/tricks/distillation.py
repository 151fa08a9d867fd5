"""Knowledge distillation from a larger, trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from torch import Tensor


def distillation_loss(logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """T^2 l(softmax(r / T), softmax(z / T)), section 5.3 of He et al. 2019; l is the cross-entropy.

    logits z and teacher_logits r: (B, K). Returns the scalar mean over the batch. T^2 keeps the
    gradient's size when T changes (Hinton et al. 2015, arXiv:1503.02531, section 2). With the
    Kullback-Leibler divergence for l, as others write it, the value is less by T^2 times the
    entropy of softmax(r / T), on which the student has no influence: the gradient is the same.
    """
    from torch.nn.functional import cross_entropy

    soft = (teacher_logits / temperature).softmax(dim=1)
    return temperature**2 * cross_entropy(logits / temperature, soft)


@dataclass(frozen=True)
class Distillation(Trick):
    """teacher: a backbone name (<architecture>_<recipe>), the directory of an artifact, or
    timm:<model>[@FILE]; it sees the same images as the student, mixed ones included.

    temperature: T, of both networks' softmax. weight: factor on this loss, which is added to that
    of the labels.
    """

    teacher: str
    temperature: float = 20.0
    weight: float = 1.0

    name = "distillation"
    kind = "targets"
    stage = "pretraining"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Hinton et al. 2015, arXiv:1503.02531)",
        section="section 5.3, Table 6; Ridnik et al. 2022 (USI), arXiv:2204.03475: weight 5, T 1",
        equation="l(p, softmax(z)) + w T^2 l(softmax(r / T), softmax(z / T))",
        effect="+0.36 over smoothing for ResNet-50-D; lower for Inception-V3 and MobileNet",
    )

    def __post_init__(self) -> None:
        if not self.teacher:
            raise ValueError(
                "teacher must be a backbone name, an artifact or timm:<model>[@FILE], not empty"
            )
        for knob in ("temperature", "weight"):
            if not 0 < getattr(self, knob) < float("inf"):
                raise ValueError(f"{knob} must be positive, not {getattr(self, knob)}")

    def loss(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """`weight` times the distillation loss; logits and teacher_logits: (B, K)."""
        return self.weight * distillation_loss(logits, teacher_logits, temperature=self.temperature)
