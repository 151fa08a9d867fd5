"""Any model of timm: what comes out is what the spec says, and is timm's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from backbones import create_backbone, load_artifact
from backbones.base import Backbone
from backbones.inception_v3 import InceptionV3
from backbones.obtain import obtain
from backbones.timm_models import TimmBackbone, import_timm, timm_backbone
from backbones.timm_plan import plan_timm

# Padded and unpadded convolutions, ConvNeXt, ViT, ViT with register tokens, MLP.
SMALL = ("test_resnet", "test_convnext", "test_vit", "test_vit3", "resmlp_12_224", "vgg11")
FAMILIES = (
    *("resnext50_32x4d", "seresnext50_32x4d", "efficientnet_b0", "mobilenetv3_large_100"),
    *("swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "beit_base_patch16_224"),
    *("mixer_s32_224", "gmlp_ti16_224", "tresnet_m", "levit_128s", "levit_384"),
    *("edgenext_xx_small", "vgg11", "densenet121", "regnety_002", "inception_v3", "inception_v4"),
    *("inception_resnet_v2", "legacy_xception", "mobilenetv1_100", "deit3_small_patch16_224"),
    *("deit_tiny_distilled_patch16_224", "pit_ti_224", "cait_xxs24_224", "coat_lite_tiny"),
    *("mobilevitv2_050", "poolformer_s12", "maxvit_tiny_tf_224", "hrnet_w18_small", "dla34"),
    *("efficientformer_l1", "fastvit_t8", "vit_small_patch14_dinov2", "vit_small_patch32_224"),
    *("convmixer_768_32", "nest_tiny", "volo_d1_224", "visformer_tiny", "shvit_s1", "mvitv2_tiny"),
    *(
        "xcit_nano_12_p16_224",
        "swinv2_cr_tiny_ns_224",
        "mambaout_femto",
        "twins_svt_small",
        "eva02_tiny_patch14_224",
        "samvit_base_patch16_224",
    ),
)


def on_meta(name: str, output_stride: int = 32) -> TimmBackbone:
    with torch.device("meta"):
        return timm_backbone(name, output_stride=output_stride).eval()


def assert_the_spec_is_what_comes_out(backbone: Backbone, device: str) -> None:
    native = backbone.native_size
    sizes = [(native, native)] if backbone.fixed_size else [(64, 64), (100, 171)]
    assert len(backbone.features.channels) == 4
    for height, width in sizes:
        with torch.no_grad():
            levels = backbone(torch.zeros(1, 3, height, width, device=device))
        assert [tuple(level.shape) for level in levels] == [
            (1, c, math.ceil(height / s), math.ceil(width / s))
            for c, s in zip(backbone.features.channels, backbone.features.strides, strict=True)
        ]


@pytest.mark.parametrize("name", SMALL)
def test_the_spec_is_what_comes_out(name: str) -> None:
    backbone = on_meta(name)
    assert backbone.features.strides == (4, 8, 16, 32)
    assert_the_spec_is_what_comes_out(backbone, "meta")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_spec_is_what_comes_out_of_every_family(name: str) -> None:
    backbone = timm_backbone(name).eval()
    assert backbone.features.strides == (4, 8, 16, 32)
    assert_the_spec_is_what_comes_out(backbone, "cpu")
    pooled = backbone.classification_features(torch.randn(2, 3, *[backbone.native_size] * 2))[-1]
    assert pooled.shape[:2] == (2, backbone.features.channels[-1])
    assert pooled.isfinite().all()


def own_map(name: str, full: nn.Module, images: Tensor) -> Tensor:
    """The last map of timm's whole model, after its last normalization."""
    with torch.no_grad():
        return full.eval().forward_intermediates(images, indices=1, norm=True)[1][0]


@pytest.mark.parametrize("name", ["test_vit", "resmlp_12_224"])
def test_a_plain_models_map_is_timms(name: str, tmp_path: Path) -> None:
    """A file of the whole model gives the whole model's last map, at C4 and to the classifier."""
    torch.manual_seed(0)
    full = timm.create_model(name)
    torch.save(full.state_dict(), tmp_path / "weights.pth")
    backbone, imported = import_timm(name, tmp_path / "weights.pth")
    assert imported.mapping == "by name"
    images = torch.randn(2, 3, *[backbone.native_size] * 2)
    expected = own_map(name, full, images)
    assert expected.std() > 0.01
    with torch.no_grad():
        levels = backbone.eval()(images)
        classified = backbone.classification_features(images)
    assert torch.equal(levels[2], expected)
    assert torch.equal(classified[-1], expected)
    torch.testing.assert_close(
        levels[0], nn.functional.interpolate(expected, scale_factor=4, mode="bilinear")
    )
    torch.testing.assert_close(levels[3], nn.functional.max_pool2d(expected, 2, ceil_mode=True))


@pytest.mark.slow
def test_swins_levels_are_timms_with_a_file_of_its_own(tmp_path: Path) -> None:
    name = "swinv2_cr_tiny_ns_224"
    torch.manual_seed(0)
    full = timm.create_model(name).eval()
    torch.save(full.state_dict(), tmp_path / "weights.pth")
    backbone, imported = import_timm(name, tmp_path / "weights.pth")
    assert imported.mapping == "by name"
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = full.forward_intermediates(images, intermediates_only=True)
        for level, theirs in zip(backbone.eval()(images), expected[-4:], strict=True):
            torch.testing.assert_close(level, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_swin_at_another_size_gives_whole_cells() -> None:
    backbone = on_meta("swin_tiny_patch4_window7_224")
    with torch.no_grad():
        levels = backbone(torch.zeros(1, 3, 130, 75, device="meta"))
    assert [tuple(level.shape) for level in levels] == [
        (1, 96, 33, 19),
        (1, 192, 17, 10),
        (1, 384, 9, 5),
        (1, 768, 5, 3),
    ]


def test_a_vit_at_another_size_interpolates_its_positions() -> None:
    """timm's own model, made for that size from the same weights."""
    torch.manual_seed(0)
    backbone = timm_backbone("test_vit").eval()
    other = timm.create_model("test_vit", img_size=(64, 96), num_classes=0).eval()
    state = {n.removeprefix("body.model."): t for n, t in backbone.state_dict().items()}
    state["pos_embed"] = timm.layers.resample_abs_pos_embed(
        state["pos_embed"], (4, 6), num_prefix_tokens=other.num_prefix_tokens
    )
    missing = other.load_state_dict(state, strict=False)
    assert not missing.missing_keys, missing
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images)[2], own_map("test_vit", other, images))


def test_padding_is_zeros_at_the_right_and_bottom() -> None:
    backbone = timm_backbone("test_vit").eval()
    images = torch.randn(1, 3, 70, 100)
    padded = torch.zeros(1, 3, 80, 112)
    padded[..., :70, :100] = images
    with torch.no_grad():
        for level, expected, stride in zip(
            backbone(images), backbone(padded), (4, 8, 16, 32), strict=True
        ):
            rows, columns = math.ceil(70 / stride), math.ceil(100 / stride)
            torch.testing.assert_close(level, expected[..., :rows, :columns])


def test_a_convolutional_model_is_not_padded() -> None:
    """timm's feature network itself, at a size that nothing divides."""
    torch.manual_seed(0)
    backbone = timm_backbone("test_resnet").eval()
    assert backbone.plan.multiple == 1
    theirs = timm.create_model("test_resnet", features_only=True).eval()
    theirs.load_state_dict({n.removeprefix("body."): t for n, t in backbone.state_dict().items()})
    images = torch.randn(1, 3, 77, 109)
    with torch.no_grad():
        for level, expected in zip(backbone(images), theirs(images)[-4:], strict=True):
            assert torch.equal(level, expected)


def test_a_model_of_one_size_says_so() -> None:
    backbone = on_meta("resmlp_12_224")
    assert backbone.fixed_size == 224
    with pytest.raises(ValueError, match=r"resmlp_12_224 takes images of 224 x 224 .*128 x 224"):
        backbone(torch.zeros(1, 3, 128, 224, device="meta"))


@pytest.mark.parametrize(("output_stride", "strides"), [(16, (4, 8, 16, 16)), (8, (4, 8, 8, 8))])
def test_a_plain_models_levels_can_have_any_stride(
    output_stride: int, strides: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    backbone = timm_backbone("test_vit", output_stride=output_stride).eval()
    coarse = timm_backbone("test_vit").eval()
    coarse.load_state_dict(backbone.state_dict())
    assert backbone.features.strides == strides
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        levels = backbone(images)
        assert [level.shape[-1] for level in levels] == [96 // s for s in strides]
        assert torch.equal(levels[-1], coarse(images)[strides.index(output_stride)])


def test_what_is_missing_is_made_of_the_nearest_and_the_last() -> None:
    """LeViT has strides 16, 32, 64: C5 must be the network's end, which its classifier pools."""
    plan = plan_timm("levit_128s")
    assert plan.strides == (16, 32, 64)
    assert plan.sources == (0, 0, 0, 2)
    assert plan.channels == (128, 128, 128, 384)
    assert plan.fixed_size == 224
    backbone = on_meta("levit_128s")
    images = torch.zeros(1, 3, 224, 224, device="meta")
    assert [level.shape[-1] for level in backbone(images)] == [56, 28, 14, 7]
    assert backbone.classification_features(images)[-1].shape == (1, 384, 4, 4)


@pytest.mark.parametrize(
    ("name", "output_stride", "said"),
    [
        ("levit_128s", 8, "no dilated form"),
        ("vgg11", 8, "no dilated form"),
        pytest.param("crossvit_9_240", 32, "last feature map is not on", marks=pytest.mark.slow),
        pytest.param("gemma4_vit_167m_enc", 32, "looks at numbers", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_says_why(name: str, output_stride: int, said: str) -> None:
    with pytest.raises(ValueError, match=f"timm:{name} .*{said}.*use a model"):
        plan_timm(name, output_stride)


def test_planning_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    plan_timm.cache_clear()
    plan_timm("test_vit")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_timms_inception_is_ours_on_the_common_grid(perturb: object) -> None:
    """Two ways to the same levels: timm's network planned by its offsets, and our own class."""
    assert callable(perturb)
    torch.manual_seed(0)
    theirs = timm_backbone("inception_v3").eval()
    perturb(theirs)
    ours = InceptionV3().eval()
    state = {n.removeprefix("body."): t for n, t in theirs.state_dict().items()}
    ours.load_state_dict(state, strict=True)
    images = torch.randn(1, 3, 90, 100)
    with torch.no_grad():
        for a, b in zip(theirs(images), ours(images), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        pairs = zip(
            theirs.classification_features(images),
            ours.classification_features(images),
            strict=True,
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="made for 299 x 299"):
        theirs.classification_features(torch.zeros(1, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inception_v4", "inception_resnet_v2", "legacy_xception"])
def test_cell_i_of_unpadded_models_lies_at_pixel_stride_times_i(name: str) -> None:
    """As in `test_inception_v3`: of 32k + 1 pixels the mirrored network sees mirrored levels."""
    torch.manual_seed(0)
    backbone = timm_backbone(name).double().eval()
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    with torch.no_grad():
        levels = backbone(images)
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.flip(2, 3))
        mirrored = backbone(images.flip(2, 3))
    for level, other in zip(levels, mirrored, strict=True):
        assert level.std() > 0
        torch.testing.assert_close(
            other.flip(2, 3), level, rtol=1e-7, atol=1e-9 * level.abs().max()
        )


def test_a_plain_models_stages_are_quarters_of_its_blocks() -> None:
    backbone = on_meta("resmlp_12_224")
    names = {id(p): n.removeprefix("body.model.") for n, p in backbone.named_parameters()}
    parts = [{names[id(p)] for p in backbone.parameters_until(k)} for k in range(5)]
    assert {n.split(".")[0] for n in parts[0]} == {"stem"}
    for stage in range(1, 5):
        added = {int(n.split(".")[1]) for n in parts[stage] - parts[stage - 1] if "blocks." in n}
        assert added == {3 * stage - 3, 3 * stage - 2, 3 * stage - 1}
    assert parts[4] - parts[3] >= {"norm.alpha", "norm.beta"}
    assert len(parts[4]) == len(list(backbone.parameters()))


def test_every_parameter_of_a_plain_model_learns() -> None:
    torch.manual_seed(0)
    backbone = timm_backbone("test_vit")
    sum(level.square().mean() for level in backbone(torch.randn(2, 3, 64, 64))).backward()
    still = [n for n, p in backbone.named_parameters() if p.grad is None]
    assert not still


def test_an_artifact_of_a_vit_comes_back(tmp_path: Path) -> None:
    card = obtain("scratch:timm:test_vit", tmp_path / "a", seed=3)
    assert card.features.strides == (4, 8, 16, 32)
    torch.manual_seed(3)
    backbone = create_backbone("timm:test_vit").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(load_artifact(tmp_path / "a")(images), backbone(images), strict=True):
            assert torch.equal(a, b)
