"""The teacher says what its network says, whatever its preprocessing, precision and mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize

from backbones import create_backbone, load_artifact, save_artifact
from backbones.preprocessing import IMAGENET_PAPER, Preprocessing
from classification import teacher as teacher_module
from classification.half_format import HalfFormat
from classification.model import Classifier
from classification.teacher import HALF_TOLERANCE, Teacher, load_teacher, renormalization

CLASSES = 6


def perturb(network: nn.Module) -> nn.Module:
    """Normalizations as in a trained network: none of them is the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def classifier_of(architecture: str) -> Classifier:
    torch.manual_seed(0)
    network = Classifier(create_backbone(architecture, width=0.125), CLASSES)
    perturb(network)
    return network.eval()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return classifier_of("resnet18d")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(64, 3, 40, 40, generator=torch.Generator().manual_seed(3))


def plain(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network(images)


def test_in_float32_only_rounding_differs(classifier: Classifier, images: Tensor) -> None:
    teacher = Teacher(classifier, IMAGENET_PAPER, precision="float32")
    expected = plain(classifier, images)
    assert teacher.folded == sum(isinstance(m, nn.BatchNorm2d) for m in classifier.modules())
    assert teacher.num_classes == CLASSES
    found = teacher(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_in_half_precision_the_stated_tolerance_holds(
    images: Tensor, half: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = classifier_of("resnet50d")
    chosen = HalfFormat(precision=half, why="")
    monkeypatch.setattr(teacher_module, "half_format", lambda: chosen)
    teacher = Teacher(classifier, IMAGENET_PAPER)
    assert teacher.precision == half
    dtype = getattr(torch, half)
    assert {p.dtype for p in teacher.network.backbone.parameters()} == {dtype}
    found, expected = teacher(images), plain(classifier, images)
    assert found.dtype == torch.float32
    deviation = (found - expected).square().mean().sqrt() / expected.std()
    assert 0 < float(deviation) < HALF_TOLERANCE
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.95


def test_a_network_that_half_precision_would_spoil_stays_in_float32(
    monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    class Fragile(nn.Module):
        """Differences between large numbers, which eight bits do not tell apart."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, CLASSES, 3)

        def forward(self, x: Tensor) -> Tensor:
            return (self.conv(x) + 1000).mean(dim=(2, 3)) - 1000

    chosen = HalfFormat(precision="bfloat16", why="")
    monkeypatch.setattr(teacher_module, "half_format", lambda: chosen)
    network = Fragile()
    teacher = Teacher(network, IMAGENET_PAPER)
    assert teacher.precision == "float32"
    torch.testing.assert_close(teacher(images), plain(network, images), rtol=0, atol=0.01)
    # Who asks for it by name gets it.
    assert Teacher(network, IMAGENET_PAPER, precision="bfloat16").precision == "bfloat16"


def test_logits_that_are_all_alike_say_nothing_of_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = HalfFormat(precision="bfloat16", why="")
    monkeypatch.setattr(teacher_module, "half_format", lambda: chosen)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    assert Teacher(network, IMAGENET_PAPER).precision == "float32"


class _Means(nn.Module):
    """The logits are the mean of each input channel: what came in can be read off."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


STUDENT = Preprocessing(mean=(120, 110, 100), std=(60, 50, 40))
OTHER = Preprocessing(mean=(127.5, 127.5, 127.5), std=(127.5, 63.75, 255))


@pytest.mark.parametrize("student_order", ["RGB", "BGR"])
@pytest.mark.parametrize("teacher_order", ["RGB", "BGR"])
def test_the_teacher_sees_the_pixels_through_its_own_preprocessing(
    student_order: str, teacher_order: str
) -> None:
    def prepared(pixels: Tensor, mean: tuple, std: tuple, order: str) -> Tensor:
        """Pixels (B, R G B, H, W) as a network takes them."""
        scaled = (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        return scaled[:, [2, 1, 0]] if order == "BGR" else scaled

    def named(preprocessing: Preprocessing, order: str) -> Preprocessing:
        fields = {**preprocessing.to_dict(), "channel_order": order}
        return Preprocessing.from_dict(fields)

    pixels = torch.randint(0, 256, (2, 3, 5, 7)).float()
    teacher = Teacher(
        _Means(),
        named(OTHER, teacher_order),
        student=named(STUDENT, student_order),
        precision="float32",
    )
    seen = teacher(prepared(pixels, STUDENT.mean, STUDENT.std, student_order))
    expected = prepared(pixels, OTHER.mean, OTHER.std, teacher_order).mean(dim=(2, 3))
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)


def test_renormalization_by_hand() -> None:
    scale, offset, flips = renormalization(STUDENT, OTHER)
    assert scale == pytest.approx((60 / 127.5, 50 / 63.75, 40 / 255))
    assert offset == pytest.approx((-7.5 / 127.5, -17.5 / 63.75, -27.5 / 255))
    assert not flips
    assert renormalization(STUDENT, STUDENT) == ((1, 1, 1), (0, 0, 0), False)


levels = st.floats(0, 255)
spreads = st.floats(1, 255)
preprocessings = st.builds(
    Preprocessing,
    mean=st.tuples(levels, levels, levels),
    std=st.tuples(spreads, spreads, spreads),
    channel_order=st.sampled_from(["RGB", "BGR"]),
)


@settings(max_examples=30, deadline=None)
@given(student=preprocessings, teacher=preprocessings, pixel=st.tuples(levels, levels, levels))
def test_there_and_back_is_where_one_was(
    student: Preprocessing, teacher: Preprocessing, pixel: tuple[float, float, float]
) -> None:
    def through(x: list[float], source: Preprocessing, target: Preprocessing) -> list[float]:
        scale, offset, flips = renormalization(source, target)
        x = x[::-1] if flips else x
        return [a * s + o for a, s, o in zip(x, scale, offset, strict=True)]

    start = list(pixel)
    back = through(through(start, student, teacher), teacher, student)
    assert back == pytest.approx(start, rel=1e-6, abs=1e-6)


def test_images_are_resized_for_networks_of_one_size(images: Tensor) -> None:
    class OneSize(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[-2:] == (24, 24)
            return x[:, :, 5, 7]

    teacher = Teacher(OneSize(), IMAGENET_PAPER, image_size=24, precision="float32")
    expected = resize(images, [24, 24], antialias=True)[:, :, 5, 7]
    torch.testing.assert_close(teacher(images), expected)
    as_they_are = images[:, :, :24, :24]
    assert torch.equal(teacher(as_they_are), as_they_are[:, :, 5, 7])


def test_a_teacher_neither_learns_nor_notices_how_the_student_computes(
    classifier: Classifier, images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    teacher = Teacher(classifier, IMAGENET_PAPER, precision="float32").train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    expected = teacher(images)
    assert not expected.requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher(images), expected)
    in_channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(teacher(in_channels_last), expected)
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_everything_of_a_teacher_moves_together() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    teacher = Teacher(network, OTHER, precision="float32").to("meta")
    tensors = [*teacher.parameters(), *teacher.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    backbone = perturb(create_backbone("resnet18d", width=0.125))
    directory = tmp_path_factory.mktemp("artifacts") / "a"
    head = {"weight": torch.randn(CLASSES, 64), "bias": torch.randn(CLASSES)}
    card = {"weights": "trained", "seed": 0, "preprocessing": OTHER}
    save_artifact(directory, backbone, card, head=head)
    return directory


def test_the_teacher_of_an_artifact(artifact: Path, images: Tensor) -> None:
    from safetensors.torch import load_file

    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    teacher = load_teacher(str(artifact), num_classes=CLASSES, precision="float32")
    assert torch.equal(torch.random.get_rng_state(), state), "it drew from the global generator"
    mean, std = (
        torch.tensor([getattr(p, name) for p in (IMAGENET_PAPER, OTHER)]).view(2, 1, 3, 1, 1)
        for name in ("mean", "std")
    )
    seen = (images * std[0] + mean[0] - mean[1]) / std[1]
    tensors = load_file(artifact / "model.safetensors")
    features = plain(load_artifact(artifact), seen)[-1].mean(dim=(2, 3))
    expected = features @ tensors["head.weight"].T + tensors["head.bias"]
    spread = float(expected.std())
    torch.testing.assert_close(teacher(images), expected, rtol=0, atol=1e-4 * spread)


def test_other_classes_are_refused(artifact: Path) -> None:
    with pytest.raises(ValueError, match=rf"the teacher {artifact} has 6 classes, the data set 10"):
        load_teacher(artifact, num_classes=10)


def test_a_source_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'resnet152d_smooth' is no artifact .* and no timm:"):
        load_teacher("resnet152d_smooth", num_classes=10)
    with pytest.raises(ValueError, match="no model 'resnett50'"):
        load_teacher("timm:resnett50", num_classes=10)
    with pytest.raises(ValueError, match="no weights file"):
        load_teacher(f"timm:resnet18@{tmp_path}/none.pth", num_classes=10)
    with pytest.raises(ValueError, match=r"no pretrained weights for .*give a file"):
        load_teacher("timm:vit_giant_patch14_224", num_classes=1000)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_a_whole_timm_model_teaches_with_its_classifier(
    name: str, tmp_path: Path, images: Tensor
) -> None:
    torch.manual_seed(0)
    model = perturb(timm.create_model(name, num_classes=CLASSES)).eval()
    file = tmp_path / "weights.pth"
    torch.save(model.state_dict(), file)
    source = f"timm:{name}@{file}"
    teacher = load_teacher(source, num_classes=CLASSES, precision="float32")
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    paper_mean, paper_std = (
        torch.tensor(getattr(IMAGENET_PAPER, key)).view(3, 1, 1) for key in ("mean", "std")
    )
    seen = ((images * paper_std + paper_mean) / 255 - mean) / std
    if model.pretrained_cfg["fixed_input_size"]:
        side = model.pretrained_cfg["input_size"][-1]
        seen = resize(seen, [side, side], antialias=True)
    expected = plain(model, seen)
    spread = float(expected.std())
    torch.testing.assert_close(teacher(images), expected, rtol=0, atol=1e-4 * spread)
    with pytest.raises(ValueError, match=f"has {CLASSES} classes, the data set 7"):
        load_teacher(source, num_classes=7)
