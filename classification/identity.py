"""What makes two trained backbones the same: known from the inputs, before anything is trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.schema import Benchmark
from classification.protocol import pretraining_protocol
from classification.recipes import RECIPES, parse_backbone

# A teacher is trained once and shared by the students of all seeds.
TEACHER_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Of one backbone's weights.

    facts: all that they follow from, but the seed; seed: None where they follow from none.
    """

    facts: dict[str, Any]
    seed: int | None

    @property
    def lineage(self) -> str:
        """The same for all seeds of a backbone."""
        return digest_of(self.facts)

    @property
    def digest(self) -> str:
        return digest_of({"facts": self.facts, "seed": self.seed})


def trained_identity(
    name: str, benchmark: Benchmark, digests: Mapping[str, str], seed: int
) -> Identity:
    """Identity of the weights that pretraining gives `name`, its teacher's included.

    Raises ValueError where teachers form a circle.
    """
    chain = [name]
    while (found := teacher_of(chain[-1])) is not None:
        if found in chain:
            raise ValueError(f"teachers in a circle: {' <- '.join([*chain, found])}")
        chain.append(found)
    architecture, recipe = parse_backbone(name)
    teacher = teacher_of(name)
    facts = {
        "kind": "trained",
        "protocol": pretraining_protocol(
            architecture, RECIPES[recipe], benchmark, digests["pretraining"]
        ),
        "teacher": trained_identity(teacher, benchmark, digests, TEACHER_SEED).digest
        if teacher
        else None,
    }
    return Identity(facts=facts, seed=seed)


def teacher_of(name: str) -> str | None:
    """The backbone that the recipe of `name` distills from, if any."""
    distillation = RECIPES[parse_backbone(name)[1]].distillation
    return None if distillation is None else distillation.teacher


def artifact_name(name: str, identity: Identity) -> str:
    """Folder of an artifact: readable, and different for different weights."""
    seed = "" if identity.seed is None else f"-s{identity.seed}"
    return f"{safe_name(name)}{seed}-{identity.digest[:8]}"


def safe_name(name: str) -> str:
    """A file name out of any SPEC: `scratch:resnet50d` -> `scratch-resnet50d`, at most 80 long."""
    name = re.sub(r"@.*/", "@", name)  # of a weights file only its own name
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:80] or "unnamed"


def digest_of(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the sha256 of canonical JSON."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
