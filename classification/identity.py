"""What makes two trained backbones the same: known from the inputs, before anything is trained."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backbones.atomic import sha256_file
from backbones.card import read_card
from backbones.provenance import version
from benchmarks.schema import Benchmark
from classification.derived import find_recipe
from classification.names import parse_backbone, split_recipe
from classification.protocol import pretraining_protocol
from classification.tricks import Pretrained

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


@dataclass(frozen=True, kw_only=True)
class TeacherSource:
    """Where a recipe's teacher comes from.

    kind: "trained" is a backbone that a recipe of ours pretrains first, "artifact" a directory
    that is there already, "timm" a whole model of timm. text: the backbone's name, the absolute
    directory, or `timm:<model>[@FILE]`.
    """

    kind: Literal["trained", "artifact", "timm"]
    text: str

    def facts(self) -> str:
        """What the teacher's weights follow from, where it is not a trained one.

        Raises ValueError for a directory without an artifact, or a missing file.
        """
        if self.kind == "artifact":
            return f"artifact {read_card(self.text).sha256}"
        model, _, file = self.text.partition("@")
        if file and not Path(file).is_file():
            raise ValueError(f"the teacher {model}: no weights file at {file}")
        weights = f"of timm {version('timm')}" if not file else sha256_file(file)
        return f"{model} {weights}"


def teacher_of(name: str) -> TeacherSource | None:
    """The teacher of the recipe of `name`, if it distills. Raises UnknownNameError."""
    distillation = find_recipe(parse_backbone(name)[1]).distillation
    if distillation is None:
        return None
    text = distillation.teacher
    if "/" in text.partition("@")[0] or text.startswith((".", "~")):
        return TeacherSource(kind="artifact", text=str(Path(text).expanduser().absolute()))
    if text.startswith("timm:") and split_recipe(text) is None:
        model, at, file = text.partition("@")
        return TeacherSource(
            kind="timm", text=f"{model}@{Path(file).expanduser().absolute()}" if at else text
        )
    parse_backbone(text)
    return TeacherSource(kind="trained", text=text)


def trained_identity(
    name: str, benchmark: Benchmark, digests: Mapping[str, str], seed: int
) -> Identity:
    """Identity of the weights that pretraining gives `name`, its teacher's included.

    Raises ValueError where teachers form a circle.
    """
    _check_circle(name)
    architecture, recipe_name = parse_backbone(name)
    recipe = find_recipe(recipe_name)
    teacher = teacher_of(name)
    taught_by = None
    if teacher is not None and teacher.kind == "trained":
        taught_by = trained_identity(teacher.text, benchmark, digests, TEACHER_SEED).digest
    elif teacher is not None:
        taught_by = teacher.facts()
    facts = {
        "kind": "trained",
        "protocol": pretraining_protocol(architecture, recipe, benchmark, digests["pretraining"]),
        "teacher": taught_by,
    }
    for trick in recipe.tricks:
        if isinstance(trick, Pretrained):  # its knob is a path, which says nothing of the weights
            facts["start"] = read_card(trick.artifact).sha256
    return Identity(facts=facts, seed=seed)


def _check_circle(name: str) -> None:
    chain = [name]
    while (teacher := teacher_of(chain[-1])) is not None and teacher.kind == "trained":
        if teacher.text in chain:
            raise ValueError(f"teachers in a circle: {' <- '.join([*chain, teacher.text])}")
        chain.append(teacher.text)


def artifact_name(name: str, identity: Identity) -> str:
    """Folder of an artifact: readable, and different for different weights."""
    seed = "" if identity.seed is None else f"-s{identity.seed}"
    return f"{safe_name(name)}{seed}-{identity.digest[:8]}"


def safe_name(name: str) -> str:
    """A file name out of any SPEC: `scratch:resnet50d` -> `scratch-resnet50d`, at most 80 long."""
    name = re.sub(r"@.*/", "@", name)  # of a weights file only its own name
    return re.sub(r"[^A-Za-z0-9_.+]+", "-", name).strip("-.")[:80] or "unnamed"


def digest_of(facts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the sha256 of canonical JSON."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
