"""The distillation teacher against the plain forward of the same network.

python bench/distill.py [--width 0.25 --size 64 --batch 64 | --full] [--json FILE]

plain_teacher: resnet152d in eval mode and float32, contiguous and unfolded, without gradients.
Trickle's: batch norm folded, channels-last, in half precision where the machine has instructions
for it. The default is the size at which the embedded benchmark distills, --full the paper's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, positive, rate_ratio, report, synchronize

if TYPE_CHECKING:
    from torch import nn

CLASSES = 1000
FULL = {"width": 1.0, "size": 224, "batch": 8}


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument("--width", type=float, default=0.25, help="factor on the channels")
    parser.add_argument("--size", type=positive, default=64, help="side of the images in pixels")
    parser.add_argument("--batch", type=positive, default=64, help="images per call")
    parser.add_argument("--full", action="store_true", help="width 1, 224 pixels, batch 8")
    arguments = parser.parse_args(argv)
    if arguments.full:
        parser.set_defaults(**FULL)
        arguments = parser.parse_args(argv)

    import torch

    from backbones.preprocessing import IMAGENET_PAPER
    from classification.teacher import Teacher

    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain = _network(arguments.width).to(device)
    teacher = Teacher(plain, IMAGENET_PAPER).to(device)
    generator = torch.Generator().manual_seed(0)
    size = arguments.size
    images = torch.randn(arguments.batch, 3, size, size, generator=generator).to(device)

    with torch.no_grad():
        seconds = alternate(
            {"trickle": lambda: teacher(images), "plain_teacher": lambda: plain(images)},
            rounds=arguments.rounds,
        )
        expected, found = plain(images), teacher(images)
    synchronize()
    deviation = (found - expected) / expected.std()
    agreement = (found.argmax(1) == expected.argmax(1)).float().mean()
    raw = {
        "architecture": "resnet152d",
        "width": arguments.width,
        "image_size": size,
        "batch_size": arguments.batch,
        "rounds": arguments.rounds,
        "precision": teacher.precision,
        "folded": teacher.folded,
        "seconds": seconds,
        "images_per_second": {
            name: arguments.batch * len(times) / sum(times) for name, times in seconds.items()
        },
        # Relative to the standard deviation of the plain logits.
        "max_logit_error": float(deviation.abs().max()),
        "rms_logit_error": float(deviation.square().mean().sqrt()),
        "top1_agreement": float(agreement),
    }
    ratios = {"plain_teacher": rate_ratio(seconds, "trickle", "plain_teacher")}
    report("distill", ratios=ratios, raw=raw, file=arguments.json)
    print(
        f"{teacher.precision}, {teacher.folded} norms folded; logits deviate by at most "
        f"{raw['max_logit_error']:.4f} and {raw['rms_logit_error']:.4f} in root mean square, "
        f"relative to their spread; top-1 agrees on {100 * float(agreement):.1f}%"
    )


def _network(width: float) -> nn.Module:
    """A classifier whose normalizations do something, as in a trained one."""
    import torch
    from torch import nn

    from backbones.create import create_backbone
    from classification.model import Classifier

    torch.manual_seed(0)
    network = Classifier(create_backbone("resnet152d", width=width), CLASSES).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


if __name__ == "__main__":
    main()
