"""The README.md of a fine-tuned classifier: what it is, how good, and how it is asked."""

from __future__ import annotations

from typing import Any

from backbones.card import Card
from backbones.model_card import render_model_card


def card(**changes: Any) -> Card:
    content: dict[str, Any] = {
        "architecture": "resnet50d",
        "arguments": {"width": 1.0},
        "weights": "trained",
        "recipe": {"name": "finetune-flips", "tricks": {}},
        "preprocessing": {
            "mean": [1, 2, 3],
            "std": [1, 1, 1],
            "channel_order": "RGB",
            "interpolation": "bilinear",
        },
        "features": {"channels": [1, 2, 3, 4], "strides": [4, 8, 16, 32]},
        "metrics": {"top1": 56.7, "top5": 100.0, "n": 60},
        "dataset": {"name": "flowers"},
        "classes": ["daisy", "```", "tulip"],
        "notes": {"fine_tuned_from": "a" * 64, "measured_on": "test images", "macro_f1": 51.25},
        **changes,
    }
    return Card.model_validate(content)


def test_a_fine_tuned_classifier_says_what_it_knows_and_how_it_is_asked() -> None:
    text = render_model_card(card())
    assert text.startswith("# resnet50d, fine-tuned on flowers (finetune-flips)\n")
    assert 'load_predictor("DIR")' in text
    assert '\n["daisy", "```", "tulip"]\n' in text
    assert "top-1 56.70% of 60 test images" in text
    assert "macro_f1: 51.25" in text


def test_top_5_is_told_of_more_than_five_classes() -> None:
    assert "top-5" not in render_model_card(card())
    assert "top-5 100.00%" in render_model_card(card(classes=list("abcdef")))


def test_a_pretrained_one_is_called_a_backbone() -> None:
    text = render_model_card(card(notes={}))
    assert text.startswith("# resnet50d\n")
    assert "load_predictor" not in text
