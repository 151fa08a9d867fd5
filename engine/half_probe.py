"""Does half precision pay on this processor? A block of a network, both ways, in turns."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 15
SECONDS = 1.0
"""After which no further round begins, once there were three."""

TOLERANCE = 0.15
"""Of bfloat16's gradients, relative to float32's in root mean square. Single numbers are off by up
to 0.4%, and a rectifier whose input is nearly 0 lets through what it held back: 9% in all."""

LEAST_RATE = 0.95
"""With instructions for it the rate was 1.05 to 1.5 where it was looked at, without them half of
float32's. The line lies between, so that a busy machine does not decide; bfloat16 also takes half
the memory."""

_SHAPE = (64, 64, 16, 16)  # of the size at which the embedded benchmark's networks compute


@dataclass(frozen=True, kw_only=True)
class HalfProbe:
    """rate: bfloat16's over float32's, each at its quickest, since what else goes on in the machine
    only ever makes a round slower. error: see TOLERANCE."""

    rate: float
    error: float

    @property
    def pays(self) -> bool:
        return self.rate > LEAST_RATE and self.error <= TOLERANCE

    def in_words(self) -> str:
        """For a log."""
        return (
            f"bfloat16 computes at {self.rate:.2f} times float32's rate here, its gradients are "
            f"off by {100 * self.error:.1f}%"
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def probe_half() -> HalfProbe:
    """Forward and backward of a bottleneck block, channels last, by one thread; takes about a
    second. Several threads wait for each other wherever a core is busy with something else, which
    says nothing of the processor. Draws from no global generator.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _probe()
    finally:
        torch.set_num_threads(threads)


def _probe() -> HalfProbe:
    generator = torch.Generator().manual_seed(0)
    block = _block(generator)
    images = torch.randn(_SHAPE, generator=generator)
    images = images.to(memory_format=torch.channels_last)
    target = torch.randn(_SHAPE, generator=generator)
    full, half = _gradients(block, images, target), _gradients(block, images, target, half=True)
    error = torch.sqrt((half - full).square().mean() / full.square().mean())
    seconds: dict[bool, list[float]] = {False: [], True: []}
    begun = time.perf_counter()
    for index in range(ROUNDS):
        if index >= 3 and time.perf_counter() - begun > SECONDS:
            break
        for as_half in (index % 2 == 0, index % 2 == 1):
            started = time.perf_counter()
            _gradients(block, images, target, half=as_half)
            seconds[as_half].append(time.perf_counter() - started)
    return HalfProbe(rate=min(seconds[False]) / min(seconds[True]), error=float(error))


def _block(generator: torch.Generator) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs, size in ((64, 16, 1), (16, 16, 3), (16, 64, 1)):
        convolution = nn.utils.skip_init(
            nn.Conv2d, inputs, outputs, size, padding=size // 2, bias=False
        )
        with torch.no_grad():
            convolution.weight.normal_(0, (2 / (inputs * size**2)) ** 0.5, generator=generator)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _gradients(block: nn.Module, images: Tensor, target: Tensor, *, half: bool = False) -> Tensor:
    """Of all convolutions, in one row, float32."""
    weights = [p for p in block.parameters() if p.ndim == 4]
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = block(images)
    found = torch.autograd.grad((output.float() * target).mean(), weights)
    return torch.cat([gradient.float().flatten() for gradient in found])
