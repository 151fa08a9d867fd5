"""What makes two backbones, or two cells, the same: known from the inputs, before a job runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backbones.atomic import sha256_file
from backbones.card import read_card
from backbones.provenance import version
from benchmarks.schema import Benchmark
from classification.derived import find_recipe
from classification.identity import Identity, digest_of, trained_identity
from classification.protocol import pretraining_protocol
from eval.specs import Spec


def backbone_identity(
    spec: Spec, benchmark: Benchmark, digests: Mapping[str, str], seed: int
) -> Identity:
    """Identity of the weights that `spec` gives with `seed` on `benchmark`.

    Raises ArtifactError where an artifact's card is unreadable, OSError for a weights file.
    """
    if spec.kind == "trained":
        return trained_identity(spec.name, benchmark, digests, seed)
    facts: dict[str, Any] = {"kind": spec.kind, "architecture": spec.architecture}
    if spec.kind == "scratch":
        facts["width"] = width_of(spec, benchmark)
        return Identity(facts=facts, seed=seed)
    if spec.kind == "artifact":
        assert spec.file is not None, "an artifact has its directory"
        card = read_card(spec.file).to_dict()
        facts |= {key: card[key] for key in ("sha256", "preprocessing")}
    else:
        facts["weights"] = _imported_weights(spec)
    return Identity(facts=facts, seed=None)


def spec_protocol(spec: Spec, benchmark: Benchmark, digests: Mapping[str, str]) -> dict[str, Any]:
    """The pretraining protocol of a trained backbone."""
    assert spec.recipe is not None, "a trained backbone has a recipe"
    recipe = find_recipe(spec.recipe)
    return pretraining_protocol(spec.architecture, recipe, benchmark, digests["pretraining"])


def width_of(spec: Spec, benchmark: Benchmark) -> float:
    """The benchmark's width for our own architectures; those of others stay as they are."""
    return 1.0 if spec.is_foreign else benchmark.backbone.width


def record_key(identity: Identity, task: str, protocol: Mapping[str, Any], seed: int) -> str:
    """16 digits that name one cell: these weights, this task, this protocol, this seed."""
    facts = {"backbone": identity.digest, "task": task, "protocol": protocol, "seed": seed}
    return digest_of(facts)


def _imported_weights(spec: Spec) -> str:
    if spec.file is not None:
        return sha256_file(spec.file)
    if spec.kind == "hf":
        assert spec.weights is not None, "a model of the hub has a commit"
        return spec.weights
    # Which weights a bare name means is for the package to say, and changes with its version.
    return f"{spec.weights or 'default'} of {spec.kind} {version(spec.kind)}"
