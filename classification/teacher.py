"""The frozen teacher of a distillation, as fast as its answers allow."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from classification.folding import fold_batch_norm, output_layer
from classification.half_format import half_format
from engine.precision import Precision

_TIMM = "timm:"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

HALF_TOLERANCE = 0.05
"""Largest deviation of the logits in half precision from those in float32: root mean square over
all images and classes, relative to the standard deviation of the float32 logits. A teacher that
deviates more on the images that it is prepared with stays in float32. Trained networks deviate by
0.003 to 0.02. (In float32 the deviation from the plain network is rounding, below 1e-4.)"""

# The images that a teacher is prepared with: enough for every network that takes small images.
_PROBES, _PROBE_SIZE = 4, 96


class Teacher(nn.Module):
    """images (B, 3, H, W), normalized by the student's preprocessing -> float32 logits (B, K).

    network: gives logits (B, K) for images normalized by `preprocessing`; it is copied. student:
    the preprocessing of the images that will come. image_size: side of the squares to which images
    are resized, for networks that take no other; None: as they come. precision: None is
    `half`, where the network bears it (HALF_TOLERANCE). half: None is the half format that pays on
    this machine.

    Always in eval mode and without gradients. `folded`: number of batch normalizations that went
    into the convolutions before them. `precision`: in which it computes. `num_classes`: K.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        student: Preprocessing = IMAGENET_PAPER,
        image_size: int | None = None,
        precision: Precision | None = None,
        half: Precision | None = None,
    ) -> None:
        super().__init__()
        scale, offset, self._flips = renormalization(student, preprocessing)
        self._renormalizes = any(s != 1 for s in scale) or any(o != 0 for o in offset)
        self.register_buffer("scale", torch.tensor(scale).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", torch.tensor(offset).view(1, 3, 1, 1), persistent=False)
        self.image_size = image_size

        images = _probe(image_size or _PROBE_SIZE)
        network = copy.deepcopy(network).float().cpu().requires_grad_(False)
        network, self.folded = fold_batch_norm(network, images)
        network = network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            self.num_classes = _logits(network(images)).shape[1]
        wanted = precision or half or half_format().precision
        self.precision: Precision = "float32"
        if wanted != "float32":
            halved = _in_precision(network, wanted, images)
            if precision is not None or half_precision_error(network, halved, images, wanted) <= (
                HALF_TOLERANCE
            ):
                network, self.precision = halved, wanted
        self.network = network
        super().train(False)

    def train(self, mode: bool = True) -> Teacher:
        """A teacher is never trained: it stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        # The student's autocast would cast the weights anew in each step, and float32 ones too.
        with torch.autocast(images.device.type, enabled=False):
            images = images.float()
            if self._flips:
                images = images.flip(1)
            if self._renormalizes:
                images = torch.addcmul(self.offset, images, self.scale)
            size = self.image_size
            if size is not None and images.shape[-2:] != (size, size):
                images = interpolate(images, (size, size), mode="bilinear", antialias=True)
            images = images.to(_DTYPES[self.precision], memory_format=torch.channels_last)
            return _logits(self.network(images)).float()


def renormalization(
    student: Preprocessing, teacher: Preprocessing
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """(scale, offset, flips): the teacher's input is x scale + offset, per channel.

    x is the student's input, (pixel - m) / s, its channels reversed where `flips`. The teacher's,
    (pixel - m') / s', is x s / s' + (m - m') / s'. scale and offset are in the teacher's order.
    """
    channels = list(zip(student.mean, student.std, teacher.mean, teacher.std, strict=True))
    if teacher.channel_order == "BGR":
        channels.reverse()
    scale = tuple(s / s_ for _, s, _, s_ in channels)
    offset = tuple((m - m_) / s_ for m, _, m_, s_ in channels)
    return scale, offset, student.channel_order != teacher.channel_order


def load_teacher(
    source: str | Path,
    *,
    num_classes: int,
    student: Preprocessing = IMAGENET_PAPER,
    precision: Precision | None = None,
    half: Precision | None = None,
) -> Teacher:
    """The teacher of an artifact's directory or of timm:<model>[@FILE] with its classifier.

    Without a file timm's pretrained weights are downloaded. student, precision, half: as `Teacher`
    has them. Raises ValueError for other classes than the data set's and for a source that is
    neither; WeightsError and ArtifactError (both ValueError) where weights cannot be had or are
    damaged.
    """
    source = str(source)
    if source.startswith(_TIMM):
        network, preprocessing, size = _timm_classifier(source, num_classes)
    else:
        network, preprocessing, size = _artifact_classifier(source, num_classes)
    return Teacher(
        network,
        preprocessing,
        student=student,
        image_size=size,
        precision=precision,
        half=half,
    )


def half_precision_error(
    network: nn.Module, halved: nn.Module, images: Tensor, precision: Precision
) -> float:
    """Root mean square of the logits' differences over the float32 logits' standard deviation."""
    # CPUs emulate float16: it is asked for where there is a GPU.
    device = "cuda" if precision == "float16" and torch.cuda.is_available() else "cpu"
    with torch.no_grad():
        expected = _logits(network(images))
        found = _logits(halved.to(device)(images.to(device, _DTYPES[precision]))).float().cpu()
    halved.cpu()
    error = (found - expected).square().mean().sqrt() / expected.std()
    return float(error.nan_to_num(torch.inf))


def _artifact_classifier(
    directory: str, num_classes: int
) -> tuple[nn.Module, Preprocessing, int | None]:
    from classification.model import load_classifier

    if not Path(directory).is_dir():
        raise ValueError(
            f"the teacher {directory!r} is no artifact (a directory) and no timm:<model>[@FILE]; "
            f"a backbone's name is one only in a recipe, where the teacher is trained first"
        )
    classifier = load_classifier(directory)
    _check_classes(directory, classifier.head.out_features, num_classes)
    backbone = classifier.backbone
    backbone.preprocessing.check_rgb("a student")
    return classifier, backbone.preprocessing, getattr(backbone, "fixed_size", None)


def _timm_classifier(source: str, num_classes: int) -> tuple[nn.Module, Preprocessing, int | None]:
    import timm

    from backbones.timm_models import load_timm, timm_preprocessing
    from backbones.timm_plan import check_timm_model

    name, _, file = source.removeprefix(_TIMM).partition("@")
    check_timm_model(name)
    published = timm.get_pretrained_cfg(name)
    if not file and published is not None:  # before anything is downloaded
        _check_classes(source, published.num_classes, num_classes)
    model: Any
    model, _ = load_timm(name, file or None)
    _check_classes(source, model.num_classes, num_classes)
    config = model.pretrained_cfg
    size = int(config["input_size"][-1]) if config.get("fixed_input_size") else None
    return model, timm_preprocessing(name, config), size


def _check_classes(source: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"the teacher {source} has {found} classes, the data set {wanted}")


def _probe(size: int) -> Tensor:
    """Images (B, 3, size, size) of large colour fields with some noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    fields = torch.randn(_PROBES, 3, 4, 4, generator=generator)
    noise = torch.randn(_PROBES, 3, size, size, generator=generator)
    return interpolate(fields, (size, size), mode="bilinear") + 0.3 * noise


def _in_precision(network: nn.Module, precision: Precision, images: Tensor) -> nn.Module:
    """A copy with weights in half precision, but of the layer whose output is the logits."""
    last = output_layer(network, images)
    halved = copy.deepcopy(network).to(_DTYPES[precision])
    if last is not None:
        # Rounding here would go into the logits undamped: 8 bits of a logit of 15 leave 0.06.
        halved.get_submodule(last).float().register_forward_pre_hook(
            lambda module, inputs: (inputs[0].float(),)
        )
    return halved


def _logits(outputs: Any) -> Tensor:
    """Some networks give more than their logits."""
    logits: Tensor = getattr(outputs, "logits", outputs)
    return logits
