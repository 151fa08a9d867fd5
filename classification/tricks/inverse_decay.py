"""Inverse decay of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule
from classification.tricks.trick import Card


@dataclass(frozen=True)
class InverseDecay(Schedule):
    """The base rate over (1 + gamma t)^power, t in epochs from the warmup's end.

    gamma: per epoch. power 1 is Bottou's; gamma 0.1 and power 0.75 are about those of Caffe's
    LeNet (policy "inv": 1e-4 per step of 64 images of MNIST, 938 steps an epoch).
    """

    gamma: float = 0.1
    power: float = 0.75

    name = "inverse_decay"
    card = Card(
        paper='Bottou 2012, "Stochastic Gradient Descent Tricks" (Jia et al. 2014, Caffe, '
        "arXiv:1408.5093)",
        section="section 5.2",
        equation="eta (1 + gamma t)^-power",
        effect="not reported on ImageNet",
    )

    def __post_init__(self) -> None:
        for knob in ("gamma", "power"):
            if not getattr(self, knob) > 0:
                raise ValueError(f"{knob} must be positive, not {getattr(self, knob)}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        return math.pow(1 + self.gamma * max(0.0, epoch - start), -self.power)
