"""`--list`: every name that a command takes, as text or JSON."""

from __future__ import annotations

import json
from typing import Any

from backbones.catalog import ARCHITECTURES
from benchmarks.packaged import PACKAGED
from classification.recipes import RECIPES
from classification.tricks import TRICKS
from classification.tricks.trick import KINDS


def make_listing() -> dict[str, Any]:
    """`{"architectures", "recipes", "tricks": [{"name", "source", ...}], "benchmarks"}`."""
    return {
        "architectures": list(ARCHITECTURES),
        "recipes": list(RECIPES),
        "tricks": [
            {
                "name": name,
                "kind": trick.kind,
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
    recipes = [
        f"  {name:<{width}}  {' + '.join(RECIPES[name].trick_names) or 'no trick'}"
        for name in listing["recipes"]
    ]
    return "\n".join(
        [
            "Backbones: <architecture>_<recipe>, scratch:<architecture>, scratch:timm:<model>,",
            "  <architecture>@FILE, timm:<model>[@FILE], torchvision:<model>[@NAME or FILE],",
            "  hf:<org>/<name>[@revision], a path to an artifact; wildcards",
            "",
            f"Architectures: {', '.join(listing['architectures'])},",
            "  timm:<model>, torchvision:<model>",
            "",
            "Recipes:",
            *recipes,
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
            if trick["alternatives"] is not None:
                lines += [f"      one {trick['alternatives']} in a recipe"]
            if trick["conflicts"]:
                lines += [f"      conflicts with {', '.join(trick['conflicts'])}"]
        lines += [""]
    return "\n".join(lines).rstrip()
