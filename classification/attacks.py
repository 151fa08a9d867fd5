"""Images that are changed by a little, along the classifier's own gradient, so that it errs.

The white-box attacks of Zhang et al. 2018 (mixup, arXiv:1710.09412), section 3.5.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Network = Callable[[Tensor], Tensor]
"""(B, C, H, W) pixels in 0..1 -> logits (B, K)."""


def loss_gradient(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Of each image's cross-entropy, with respect to its pixels; as large as `images`.

    images: (B, C, H, W) in 0..1; labels: (B,). The network's weights gather no gradients where
    they do not require any.
    """
    images = images.detach().requires_grad_(True)
    with torch.enable_grad():
        loss = cross_entropy(network(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    return gradient


def fgsm(images: Tensor, gradient: Tensor, *, epsilon: float) -> Tensor:
    """x + epsilon sign(gradient), kept in 0..1: the fast gradient sign method of Goodfellow et
    al. 2015 (arXiv:1412.6572), section 4."""
    return images.add(gradient.sign(), alpha=epsilon).clamp(0, 1)


def iterative_fgsm(
    network: Network, images: Tensor, labels: Tensor, *, epsilon: float, steps: int
) -> Tensor:
    """`steps` steps of epsilon / steps, each along the gradient where the last one has led.

    Kurakin et al. 2017 (arXiv:1607.02533), section 2.2, with mixup's equal steps. No pixel ends
    further than epsilon from where it was.
    """
    found = images
    for _ in range(steps):
        found = fgsm(found, loss_gradient(network, found, labels), epsilon=epsilon / steps)
    return found
