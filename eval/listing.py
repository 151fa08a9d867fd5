"""`--list`: every name that a command takes, as text or JSON."""

from __future__ import annotations

import json
from typing import Any

from backbones.catalog import ARCHITECTURES
from benchmarks.packaged import PACKAGED
from classification.recipe import Recipe
from classification.recipes import FINE_TUNINGS, RECIPES
from classification.tricks import TRICKS
from classification.tricks.trick import KINDS


def make_listing() -> dict[str, Any]:
    """`{"architectures", "recipes", "fine_tunings", "tricks": [{"name", "source", ...}],
    "benchmarks"}`."""
    return {
        "architectures": list(ARCHITECTURES),
        "recipes": list(RECIPES),
        "fine_tunings": list(FINE_TUNINGS),
        "tricks": [
            {
                "name": name,
                "kind": trick.kind,
                "stage": trick.stage,
                "knobs": trick.knobs(),
                "source": trick.card.source,
                "effect": trick.card.effect,
                "conflicts": list(trick.card.conflicts),
                "alternatives": trick.alternatives,
            }
            for name, trick in TRICKS.items()
        ],
        "benchmarks": list(PACKAGED),
    }


def to_json(listing: dict[str, Any]) -> str:
    return json.dumps(listing, indent=2, ensure_ascii=False)


def to_text(listing: dict[str, Any]) -> str:
    """For reading: what can be combined to a name, and where each trick comes from."""
    tricks = listing["tricks"]
    width = max(len(trick["name"]) for trick in tricks)

    def made(names: list[str], recipes: dict[str, Recipe]) -> list[str]:
        return [
            f"  {name:<{width}}  {' + '.join(recipes[name].trick_names) or 'no trick'}"
            for name in names
        ]

    return "\n".join(
        [
            "Backbones: <architecture>_<recipe>, scratch:<architecture>, scratch:timm:<model>,",
            "  <architecture>@FILE, timm:<model>[@FILE], torchvision:<model>[@NAME or FILE],",
            "  hf:<org>/<name>[@revision], a path to an artifact; wildcards; any of them",
            "  fine-tuned on one's own images: <backbone>~<recipe of fine-tuning>",
            "",
            f"Architectures: {', '.join(listing['architectures'])},",
            "  timm:<model>, torchvision:<model>",
            "",
            "Recipes:",
            *made(listing["recipes"], RECIPES),
            "",
            "Recipes of fine-tuning:",
            *made(listing["fine_tunings"], FINE_TUNINGS),
            "",
            "Tricks:",
            *(f"  {trick['name']:<{width}}  {trick['source']}" for trick in tricks),
            "",
            f"Benchmarks: {', '.join(listing['benchmarks'])}, or the path of a TOML file",
        ]
    )


def tricks_to_text(listing: dict[str, Any]) -> str:
    """All tricks by chapter: knobs with their defaults, source, expected effect, conflicts."""
    lines = []
    for kind in KINDS:
        lines += [kind.capitalize(), ""]
        for trick in listing["tricks"]:
            if trick["kind"] != kind:
                continue
            knobs = ", ".join(f"{key}={value}" for key, value in trick["knobs"].items())
            lines += [f"  {trick['name']}({knobs})", f"      {trick['source']}"]
            lines += [f"      effect: {trick['effect']}"]
            if trick["stage"] != "any":
                stage = "fine-tuning" if trick["stage"] == "finetune" else trick["stage"]
                lines += [f"      of {stage} alone"]
            if trick["alternatives"] is not None:
                lines += [f"      one {trick['alternatives']} in a recipe"]
            if trick["conflicts"]:
                lines += [f"      conflicts with {', '.join(trick['conflicts'])}"]
        lines += [""]
    return "\n".join(lines).rstrip()
