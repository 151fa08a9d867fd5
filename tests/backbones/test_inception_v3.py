"""Our Inception-V3 against torchvision's, and the grid of its levels against geometry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad
from torchvision.models.feature_extraction import create_feature_extractor

from backbones.base import Backbone
from backbones.inception_v3 import InceptionAuxiliary, InceptionV3, dense_average
from backbones.resnet import ResNet

Perturb = Callable[..., nn.Module]

NODES = {
    "Conv2d_4a_3x3.relu": "c2",
    "Mixed_5d.cat": "c3",
    "Mixed_6e.cat": "c4",
    "Mixed_7c.cat_2": "c5",
    "flatten": "pooled",
}


@pytest.fixture(scope="module")
def theirs(perturb: Perturb) -> Any:
    """torchvision's network with the gain of its convolutions, so that no level fades to zero."""
    torch.manual_seed(0)
    model = torchvision.models.inception_v3(weights=None, init_weights=False, aux_logits=True)
    return perturb(model).eval()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> InceptionV3:
    model = InceptionV3()
    model.load_state_dict(without_classifiers(theirs.state_dict()), strict=True)
    return model.eval()


def without_classifiers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: t for n, t in state.items() if not n.startswith(("AuxLogits.", "fc."))}


def thin(perturb: Perturb, output_stride: int = 32) -> InceptionV3:
    """An eighth of the width, in double precision."""
    torch.manual_seed(0)
    model = InceptionV3(width=0.125, output_stride=output_stride)
    perturb(model)
    return model.double().eval()


def test_the_names_are_torchvisions(theirs: Any, ours: InceptionV3) -> None:
    assert list(ours.state_dict()) == list(without_classifiers(theirs.state_dict()))
    # torchvision documents 27,161,264 with both classifiers of 1,000 classes.
    auxiliary = sum(p.numel() for p in ours.auxiliary_head(1000).parameters())
    classifier = 2048 * 1000 + 1000
    assert sum(p.numel() for p in ours.parameters()) + auxiliary + classifier == 27_161_264


def test_the_levels_and_the_pooled_features_are_torchvisions(
    theirs: Any, ours: InceptionV3
) -> None:
    images = torch.randn(1, 3, 299, 299)
    with torch.no_grad():
        expected = create_feature_extractor(theirs, NODES)(images)
        levels = ours.classification_features(images)
    for level, name in zip(levels, ("c2", "c3", "c4", "c5"), strict=True):
        torch.testing.assert_close(level, expected[name], rtol=1e-6, atol=1e-6)
        assert expected[name].std() > 0.01
    torch.testing.assert_close(levels[-1].mean((2, 3)), expected["pooled"], rtol=1e-5, atol=1e-6)
    assert [level.shape[-1] for level in levels] == [71, 35, 17, 8], "table 1 of the paper"
    assert levels[ours.auxiliary_level].shape[1:] == (768, 17, 17)


def test_the_aligned_levels_are_torchvisions_of_the_padded_image(
    theirs: Any, ours: InceptionV3
) -> None:
    images = torch.randn(1, 3, 100, 140)
    with torch.no_grad():
        # 37 zeros in front and 37 behind the last multiple of 4, which is side - 4.
        padded = pad(images, (37, 37 - 3, 37, 37 - 3))
        expected = create_feature_extractor(theirs, NODES)(padded)
        levels = ours(images)
    for level, name, first, stride in zip(
        levels, ("c2", "c3", "c4", "c5"), (7, 3, 1, 0), (4, 8, 16, 32), strict=True
    ):
        rows, columns = -(-100 // stride), -(-140 // stride)
        torch.testing.assert_close(
            level, expected[name][..., first : first + rows, first : first + columns]
        )


@pytest.mark.parametrize("size", [(1, 1), (31, 64), (64, 64), (75, 97), (96, 128), (299, 299)])
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_the_grid_is_that_of_every_backbone(size: tuple[int, int], output_stride: int) -> None:
    with torch.device("meta"):
        model = InceptionV3(output_stride=output_stride).eval()
        levels = model(torch.zeros(2, 3, *size))
    assert model.features.channels == (192, 288, 768, 2048)
    assert model.features.strides == tuple(min(s, output_stride) for s in (4, 8, 16, 32))
    assert [tuple(level.shape) for level in levels] == [
        (2, c, -(-size[0] // s), -(-size[1] // s))
        for c, s in zip(model.features.channels, model.features.strides, strict=True)
    ]


@pytest.mark.parametrize("output_stride", [32, 8])
@pytest.mark.parametrize("name", ["inception_v3", "resnet18b"])
def test_cell_i_lies_at_pixel_stride_times_i(
    name: str, output_stride: int, perturb: Perturb
) -> None:
    """Of 32k + 1 pixels the cells at stride * i lie symmetrically about the middle: the mirrored
    network sees of the mirrored image the mirrored levels. A grid shifted by a pixel does not."""
    model: Backbone
    if name == "inception_v3":
        model = thin(perturb, output_stride)
    else:
        model = ResNet(18, "b", width=0.125, output_stride=output_stride).double().eval()
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        levels = model(images)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(2, 3))
        mirrored = model(images.flip(2, 3))
    for level, other in zip(levels, mirrored, strict=True):
        assert level.std() > 1e-3
        torch.testing.assert_close(other.flip(2, 3), level, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("output_stride", [16, 8])
@pytest.mark.parametrize("size", [(96, 131), (75, 140)])
def test_dilation_samples_the_same_function_more_densely(
    output_stride: int, size: tuple[int, int], perturb: Perturb
) -> None:
    """À trous by its definition: every k-th cell of the dilated level is the strided level."""
    strided, dilated = thin(perturb), thin(perturb, output_stride)
    dilated.load_state_dict(strided.state_dict(), strict=True)
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        for method in ("forward", "classification_features"):
            sparse, dense = getattr(strided, method)(images), getattr(dilated, method)(images)
            for a, b, stride in zip(sparse, dense, (4, 8, 16, 32), strict=True):
                step = max(1, stride // output_stride)
                torch.testing.assert_close(b[..., ::step, ::step], a, rtol=1e-9, atol=1e-9)


def test_the_dense_average_is_a_dilated_convolution() -> None:
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    for dilation in (2, 4):
        kernel = torch.full((3, 1, 3, 3), 1 / 9, dtype=torch.float64)
        expected = nn.functional.conv2d(x, kernel, padding=dilation, dilation=dilation, groups=3)
        torch.testing.assert_close(dense_average(x, dilation), expected)
    assert torch.equal(dense_average(x, 1), avg_pool2d(x, 3, stride=1, padding=1))


def test_the_auxiliary_head_is_torchvisions(perturb: Perturb) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.inception.InceptionAux(768, 10)
    perturb(theirs).eval()
    ours = InceptionAuxiliary(768, 10)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    ours.eval()
    for side in (17, 20):
        features = torch.randn(2, 768, side, side)
        torch.testing.assert_close(ours(features), theirs(features))
    # At 17 cells the windows of both poolings are the same; smaller maps have only one of them.
    pooled = nn.functional.adaptive_avg_pool2d(torch.arange(17.0)[None, None, :], (1, 5))
    assert pooled.flatten()[[0, 2, 4]].tolist() == [1.5, 8.0, 14.5]
    assert ours(torch.randn(2, 768, 3, 3)).shape == (2, 10)


def test_the_auxiliary_head_fits_every_width() -> None:
    model = InceptionV3(width=0.25).eval()
    head = model.auxiliary_head(7).eval()
    levels = model.classification_features(torch.randn(2, 3, 85, 85))
    assert head(levels[2]).shape == (2, 7)


def test_images_too_small_to_classify_are_refused_and_can_be_detected_on() -> None:
    model = InceptionV3(width=0.125).eval()
    assert model.classification_features(torch.zeros(1, 3, 75, 75))[-1].shape[-2:] == (1, 1)
    with pytest.raises(ValueError, match="at least 75 x 75 pixels, got 74 x 75"):
        model.classification_features(torch.zeros(1, 3, 74, 75))
    assert model(torch.zeros(1, 3, 64, 64))[-1].shape[-2:] == (2, 2)


@pytest.mark.parametrize("output_stride", [32, 8])
def test_every_parameter_learns(output_stride: int) -> None:
    model = InceptionV3(width=0.125, output_stride=output_stride)
    torch.stack([level.mean() for level in model(torch.randn(2, 3, 64, 64))]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_parameters_until_a_stage() -> None:
    with torch.device("meta"):
        model = InceptionV3()
    names = {id(p): n.partition(".")[0] for n, p in model.named_parameters()}
    parts = [{names[id(p)] for p in model.parameters_until(k)} for k in range(5)]
    assert parts[0] == {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"}
    assert parts[1] - parts[0] == {"Conv2d_3b_1x1", "Conv2d_4a_3x3"}
    assert parts[2] - parts[1] == {"Mixed_5b", "Mixed_5c", "Mixed_5d"}
    assert parts[3] - parts[2] == {f"Mixed_6{x}" for x in "abcde"}
    assert parts[4] - parts[3] == {f"Mixed_7{x}" for x in "abc"}
    assert len(model.parameters_until(4)) == len(list(model.parameters()))


def test_quarter_width() -> None:
    with torch.device("meta"):
        model = InceptionV3(width=0.25)
    # By hand: 48; 16 + 16 + 24 + 16; 4 x 48; 80 + 4 x 96 + 48.
    assert model.features.channels == (48, 72, 192, 512)
    assert model.native_size == 299


@pytest.mark.parametrize(
    ("arguments", "said"), [({"width": 0}, "width"), ({"output_stride": 4}, "8, 16 or 32")]
)
def test_wrong_arguments(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InceptionV3(**arguments)


def test_only_inception_has_an_auxiliary_head() -> None:
    model = ResNet(18, "b", width=0.125)
    assert model.auxiliary_level is None
    with pytest.raises(ValueError, match="resnet18b has no auxiliary"):
        model.auxiliary_head(10)
