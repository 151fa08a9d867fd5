"""The artifact's README.md: the card for human readers."""

from __future__ import annotations

import json
from collections.abc import Sequence

from backbones.card import Card

_ANY_FIVE = 5

_ORIGIN = {
    "trained": "trained by Trickle",
    "random": "random (never trained; the control)",
    "imported": "imported from weights trained by others",
}


def render_model_card(
    card: Card, *, use: Sequence[str] | None = None, language: str = "python"
) -> str:
    """Markdown; a pure function of the card. use: lines that load the weights, where they are not
    in an artifact. language: of these lines, as markdown names it."""
    tuned = _FINE_TUNED in card.notes and card.classes is not None
    lines = [
        *(_tuned_title(card) if tuned else _title(card)),
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in _facts(card)]
    lines += ["", "## Use", ""]
    if tuned and use is None:
        lines += ["```python", *_PREDICT, "```", "", "Its backbone alone:", ""]
    lines += [f"```{language}", *(use or _USE), "```", ""]
    if tuned:
        names = json.dumps(card.classes, ensure_ascii=False)
        lines += ["## Classes", "", "In the order of the outputs:", "", "```json", names, "```", ""]
    if card.recipe is not None:
        recipe = json.dumps(card.recipe, indent=2, ensure_ascii=False)
        lines += ["## Recipe", "", *_SCALING, "", "```json", recipe, "```", ""]
    if card.notes:
        lines += ["## Notes", "", *(f"- {key}: {value}" for key, value in card.notes.items()), ""]
    return "\n".join(lines)


def _title(card: Card) -> list[str]:
    return [
        f"# {card.architecture}",
        "",
        f"A backbone exported by Trickle. Weights: {_ORIGIN[card.weights]}.",
    ]


def _tuned_title(card: Card) -> list[str]:
    recipe = (card.recipe or {}).get("name", "a recipe without a name")
    data = card.dataset["name"] if card.dataset else "images of one's own"
    return [
        f"# {card.architecture}, fine-tuned on {data} ({recipe})",
        "",
        f"A classifier of {len(card.classes or ())} classes, fine-tuned by Trickle with the recipe "
        f"{recipe}.",
    ]


_FINE_TUNED = "fine_tuned_from"
"""Among the notes of a card: that its classifier is a fine-tuned one, and of which weights."""

_PREDICT = (
    "from classification.predict import load_predictor",
    "",
    'predictor = load_predictor("DIR")  # this directory',
    'print(predictor("photo.jpg"))      # class: probability, the most probable first',
)

_USE = (
    "from backbones import load_artifact",
    "",
    'backbone = load_artifact("DIR")   # this directory',
    "c2, c3, c4, c5 = backbone(images)  # images: (B, 3, H, W), preprocessed as said above",
)

_SCALING = (
    "The recipe's own numbers, before the benchmark's scaling: batch, epochs, learning rate and",
    "sizes that were trained with can be others. `trickle show NAME --benchmark NAME|FILE` prints",
    "both.",
)


def _facts(card: Card) -> list[tuple[str, str]]:
    pre = card.preprocessing
    facts = [
        ("width", f"{card.arguments['width']:g}"),
        ("channels of C2..C5", ", ".join(map(str, card.features.channels))),
        ("strides", ", ".join(map(str, card.features.strides))),
        ("mean (R, G, B, 0..255)", ", ".join(f"{v:g}" for v in pre.mean)),
        ("std (R, G, B, 0..255)", ", ".join(f"{v:g}" for v in pre.std)),
        ("channel order", pre.channel_order),
        ("interpolation", pre.interpolation),
    ]
    if card.metrics is not None:
        m = card.metrics
        # The right class of five is always among any five.
        many = card.classes is None or len(card.classes) > _ANY_FIVE
        top5 = f", top-5 {m['top5']:.2f}%" if many else ""
        images = card.notes.get("measured_on", "images")
        facts.append(("accuracy", f"top-1 {m['top1']:.2f}%{top5} of {m['n']} {images}"))
    if card.dataset is not None:
        digest = card.dataset.get("digest")
        facts.append(("data set", card.dataset["name"] + (f" ({digest})" if digest else "")))
        if side := card.dataset.get("shrink_to"):
            facts.append(("training images", f"shrunk to a shorter side of {side} pixels"))
        if "train_size" in card.dataset:
            facts.append(("trained at", f"{card.dataset['train_size']} pixels"))
        if "eval_size" in card.dataset and "resize_size" in card.dataset:
            cut = f"the central {card.dataset['eval_size']} pixels"
            shorter = f"a shorter side of {card.dataset['resize_size']}"
            facts.append(("evaluated at", f"{cut} of {shorter}"))
    if card.seed is not None:
        facts.append(("seed", str(card.seed)))
    facts += [(name, f"{value:g}") for name, value in (card.cost or {}).items()]
    facts += [(name, version) for name, version in card.versions.items()]
    if card.git_revision is not None:
        facts.append(("git revision", card.git_revision))
    facts.append(("sha256 of the weights", str(card.sha256)))
    return facts
