"""Augmentation policies as JSON files: read, checked line by line, and written.

    {
    "source": "where it comes from",
    "sub_policies": [
    [["rotate", 0.7, 0.9], ["equalize", 0.4, 0.0]],
    ...
    ]
    }

A step is [operation, probability, level], the two numbers in [0, 1].
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from backbones.atomic import write_text_atomic
from backbones.catalog import nearest
from classification.policy import POLICY_SPACE, Policy, SubPolicy

PUBLISHED = ("imagenet", "cifar10", "svhn")
"""The policies that the authors of Fast AutoAugment found, by the data that they found them on."""
_FOLDER = Path(__file__).parent / "policies"
_KEY = re.compile(r'(?<!\\)"sub_policies"\s*:\s*')


class PolicyError(ValueError):
    """A file that is missing, or does not hold a policy."""


@lru_cache(maxsize=len(PUBLISHED))
def published_policy(name: str) -> Policy:
    """One of `PUBLISHED`."""
    return read_policy(_FOLDER / f"{name}.json")


def read_policy(path: Path) -> Policy:
    """Raises PolicyError, which says the line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"no augmentation policy can be read from {path}: {error}") from error
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    found = whole.get("sub_policies") if isinstance(whole, dict) else None
    if not isinstance(found, list) or not found:
        raise PolicyError(
            f'{path}: expected {{"sub_policies": [[["rotate", 0.7, 0.9], ["equalize", 0.4, 0.0]], '
            "...]} with one sub-policy or more"
        )
    for line, sub_policy in zip(_lines(text, len(found)), found, strict=True):
        if (wrong := _wrong(sub_policy)) is not None:
            raise PolicyError(f"{path}, line {line}: {wrong}")
    return tuple(as_sub_policy(sub_policy) for sub_policy in found)


def as_sub_policy(plain: list[Any]) -> SubPolicy:
    """From what JSON gives."""
    return tuple((str(n), float(probability), float(level)) for n, probability, level in plain)


def _lines(text: str, count: int) -> list[int]:
    """The lines in which the sub-policies begin."""
    key = _KEY.search(text)
    assert key is not None, "JSON has found it"
    decoder, at, lines = json.JSONDecoder(), text.index("[", key.end() - 1) + 1, []
    for _ in range(count):
        while text[at] in ", \t\r\n":
            at += 1
        lines.append(text.count("\n", 0, at) + 1)
        at = decoder.raw_decode(text, at)[1]
    return lines


def _wrong(sub_policy: Any) -> str | None:
    """What is wrong with one sub-policy, for a person."""
    if not isinstance(sub_policy, list) or not sub_policy:
        return f"a sub-policy is a list of steps, not {json.dumps(sub_policy)}"
    for step in sub_policy:
        if not isinstance(step, list) or len(step) != 3:
            return f"a step is [operation, probability, level], not {json.dumps(step)}"
        name, *numbers = step
        if name not in POLICY_SPACE.operations:
            near = nearest(name, POLICY_SPACE.operations) if isinstance(name, str) else []
            known = ", ".join(near or POLICY_SPACE.operations)
            return f"unknown operation {json.dumps(name)}; nearest: {known}"
        for what, number in zip(("probability", "level"), numbers, strict=True):
            real = isinstance(number, int | float) and not isinstance(number, bool)
            if not real or not 0 <= number <= 1:
                return f"the {what} of {name} must lie in [0, 1], not {json.dumps(number)}"
    return None


def write_policy(path: Path, policy: Policy, *, source: str) -> None:
    """Whole or not at all, a sub-policy on each line. Raises OSError."""
    lines = ",\n".join(json.dumps(sub_policy) for sub_policy in policy)
    head = f'{{\n"source": {json.dumps(source)},\n"sub_policies": [\n'
    write_text_atomic(path, f"{head}{lines}\n]\n}}\n")


def policy_digest(policy: Policy) -> str:
    """sha256: equal policies have equal digests, wherever their files lie."""
    return hashlib.sha256(json.dumps(policy).encode()).hexdigest()
