"""The published numbers that come with Trickle: those of the papers, each with its source."""

from __future__ import annotations

import pytest

from benchmarks.published import Aspect, StatedProtocol, compare, load_published
from classification.names import parse_backbone
from classification.recipes import CARDS


@pytest.mark.parametrize(
    ("backbone", "metric", "values"),
    [
        # He et al. 2019, by hand from the paper: Tables 6 (arXiv, CVPR) and 8, 9.
        ("resnet50d_smooth", "top1", {78.31, 78.37, 78.34}),
        ("resnet50d_mixup_distill", "mAP", {81.33}),
        ("resnet50d_cosine", "mIoU", {39.33}),
        ("resnet50b_standard", "aAcc", {78.08}),
        ("resnet50a_ladder1024_warmup", "top1", {75.93}),
        ("resnet50a_ladder256_half_precision", "top5", {93.09}),
        ("mobilenet_efficient", "top5", {90.47, 90.53}),
        ("inception_v3_mixup", "top1", {78.77}),
        ("resnet50c_efficient", "top1", {76.87}),
        ("timm:levit_384_usi", "top1", {82.7}),
        ("scratch:resnet50d", "mAP", set()),
    ],
)
def test_numbers_are_those_of_the_papers(backbone: str, metric: str, values: set[float]) -> None:
    assert {n.value for n in load_published().of("paper", backbone, metric)} == values


def test_they_agree_with_what_the_recipes_expect() -> None:
    """The two are written down apart from each other."""
    published, checked = load_published(), 0
    for recipe, card in CARDS.items():
        if "He et al." not in card.source and "Ridnik" not in card.source:
            continue
        for architecture, top1 in card.expected.items():
            name = f"{architecture}_{recipe}"
            assert top1 in {n.value for n in published.of("paper", name, "top1")}, name
            checked += 1
    assert checked > 30


def test_every_number_has_a_backbone_that_exists_and_a_source() -> None:
    published = load_published()
    for number in published.numbers:
        assert parse_backbone(number.backbone)
        assert number.where
        assert "arXiv" in published.sources[number.source]
        assert 0 < number.value < 100


@pytest.mark.parametrize("benchmark", ["mini", "Paper", "", "paper2"])
def test_no_other_benchmark_has_published_numbers(benchmark: str) -> None:
    assert load_published().of(benchmark, "resnet50d_mixup", "mAP") == ()


def test_aspects_are_the_same_or_different_or_cannot_be_told() -> None:
    stated = StatedProtocol(
        task="detection",
        aspects=(
            Aspect(name="size", stated="224", same={"budget.size": [224]}),
            Aspect(name="epochs", stated="120", same={"recipe.epochs": [120]}),
            Aspect(name="detector", stated="plain", differs={"detector": ["FPN"]}),
            Aspect(name="teacher", stated="large", differs={"teacher": ["small"]}),
            Aspect(name="crop", stated=None, note="a script: 480"),
        ),
    )
    found = compare(stated, {"budget": {"size": 224}, "recipe": "odd", "detector": "FPN"})
    assert found.same == ("size",)
    assert found.differs == (
        "epochs: 120; here recipe.epochs = not said",
        'detector: plain; here detector = "FPN"',
    )
    assert found.not_compared == ("teacher",)
    assert found.not_stated == ("crop (a script: 480)",)
