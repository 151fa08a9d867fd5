"""Which recipes answer what each trick of a recipe is worth: `--ablate SPEC --ablation MODE`.

Of SPEC~RECIPE it is the recipe of fine-tuning that is taken apart.

stack           the recipe's base, and one trick more in each row, in the recipe's own order
leave-one-out   the recipe, and the recipe without each of its tricks
one-at-a-time   the base, and the base with each of the tricks alone
shapley         the stacks of randomly drawn orders: what a trick adds, wherever it comes

Every row is an ordinary backbone: its name says what it is made of (`classification.derived`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from classification.budget import training_plan
from classification.derived import find_recipe, name_with_only
from classification.finetune_protocol import finetune_budget
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING, PRETRAINING
from classification.recipes.registry import Registry
from eval.specs import Spec, parse_spec, parse_specs

if TYPE_CHECKING:
    from benchmarks.schema import Benchmark
    from eval.plan import Plan

Mode = Literal["stack", "leave-one-out", "one-at-a-time", "shapley"]
MODES: tuple[Mode, ...] = get_args(Mode)
PERMUTATIONS = 3
"""Orders that `shapley` draws unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """specs: the rows, the base first and no recipe twice. skipped: a line for each that cannot be
    trained, and why."""

    specs: tuple[Spec, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asks for. backbones: each a SPEC with a recipe."""

    backbones: tuple[str, ...]
    mode: Mode = "stack"
    permutations: int = PERMUTATIONS

    def said(self, plan: Plan) -> str:
        """How many recipes and trainings it takes, in one line."""
        recipes = {spec.tuning or spec.recipe for spec in plan.rows} - {None}
        trainings = [job for job in plan.jobs if job.kind == "classification"]
        what = "pretrainings with all seeds and teachers"
        if any(spec.tuning is not None for spec in plan.rows):
            trainings += [job for job in plan.jobs if job.kind == "finetune"]
            what = "trainings with all seeds and controls"
        done = sum(job.done for job in trainings)
        orders = ""
        if self.mode == "shapley":
            orders = f", {self.permutations} random order{'s' * (self.permutations > 1)}"
        return (
            f"Ablation of {', '.join(self.backbones)}, {self.mode}{orders}: {len(recipes)} "
            f"recipes; {len(trainings)} {what}, of which {done} "
            f"{'is' if done == 1 else 'are'} done already"
        )


def ablate_all(wish: Wish, benchmark: Benchmark) -> Ablation:
    """The rows of all backbones of a wish, each once.

    A recipe that the benchmark's budget cannot train is left out, and said so. Raises ValueError as
    `ablate`, BenchmarkError where there is no such budget.
    """
    wished = parse_specs(wish.backbones)
    for spec in wished:
        _ = benchmark.require_pretraining() if spec.tuning is None else finetune_budget(benchmark)

    def check(spec: Spec) -> None:
        tuned = spec.tuning is not None
        budget = finetune_budget(benchmark) if tuned else benchmark.require_pretraining()
        # How many images there are does not matter to what a plan refuses.
        training_plan(_recipe_of(spec), budget, 1, architecture=spec.architecture)

    found = [
        ablate(spec, wish.mode, permutations=wish.permutations, check=check) for spec in wished
    ]
    specs: dict[tuple[str, str], Spec] = {}
    for spec in (spec for ablation in found for spec in ablation.specs):
        backbone = spec.architecture if spec.tuning is None else spec.untuned.name
        # Two recipes may call one part of both by different names.
        specs.setdefault((backbone, _recipe_of(spec).digest()), spec)
    return Ablation(
        specs=tuple(specs.values()),
        skipped=tuple(line for ablation in found for line in ablation.skipped),
    )


def ablate(
    spec: Spec,
    mode: Mode,
    *,
    permutations: int = PERMUTATIONS,
    check: Callable[[Spec], object] = lambda spec: None,
) -> Ablation:
    """The rows of one backbone's ablation.

    permutations: of `shapley`, the number of orders. check: raises ValueError for a row that the
    benchmark cannot train; it is then left out, and said so. Raises ValueError for a backbone
    without a recipe or without a trick.
    """
    name, registry = _named(spec)
    if name is None:
        raise ValueError(
            f"{spec.name} has no recipe to take apart: expected a backbone that is pretrained "
            "here, for example resnet50d_mixup, or fine-tuned, for example "
            "timm:resnet50~finetune"
        )
    tricks = find_recipe(name, registry).trick_names
    if not tricks:
        raise ValueError(f"{spec.name} is made of no trick: there is nothing to ablate")
    rows: dict[str, Spec] = {}
    skipped: list[str] = []
    for kept in dict.fromkeys(_subsets(tricks, mode, permutations)):
        said = f"{spec.name} with only {', '.join(kept) or 'its base'}"
        if len(kept) > len(tricks) / 2:
            gone = [trick for trick in tricks if trick not in kept]
            said = f"{spec.name} without {', '.join(gone)}" if gone else spec.name
        try:
            only = name_with_only(name, kept, registry)
            if spec.tuning is not None:
                row = spec.tuned(only)
            else:
                (row,) = parse_spec(f"{spec.architecture}_{only}")
            check(row)
        except ValueError as error:
            skipped.append(f"left out of the ablation: {said}: {error}")
        else:
            rows.setdefault(row.name, row)
    if not rows:
        raise ValueError(f"no row of {spec.name} can be trained; {skipped[0]}")
    return Ablation(specs=tuple(rows.values()), skipped=tuple(skipped))


def _named(spec: Spec) -> tuple[str | None, Registry]:
    """The recipe that is taken apart, and what its name is looked up in."""
    return (spec.recipe, PRETRAINING) if spec.tuning is None else (spec.tuning, FINE_TUNING)


def _recipe_of(spec: Spec) -> Recipe:
    name, registry = _named(spec)
    assert name is not None, "a row of an ablation has a recipe"
    return find_recipe(name, registry)


def drawn_orders(tricks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Random orders of the tricks, without end; the same ones each time, whatever their order here.

    So the first orders of a larger budget are those of a smaller one, and the report finds them
    again in records that know of no ablation.
    """
    import numpy as np

    names = sorted(tricks)
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    place = 0
    while True:
        seed = [int.from_bytes(digest[:8]), place]
        order = np.random.default_rng(seed).permutation(len(names))
        yield tuple(names[index] for index in order)
        place += 1


def _subsets(tricks: tuple[str, ...], mode: Mode, permutations: int) -> Iterator[tuple[str, ...]]:
    """The kept tricks of each row, in the recipe's order."""
    if mode == "stack":
        yield from _prefixes(tricks, tricks)
    elif mode == "leave-one-out":
        yield tricks
        for gone in tricks:
            yield tuple(trick for trick in tricks if trick != gone)
    elif mode == "one-at-a-time":
        yield ()
        yield from ((trick,) for trick in tricks)
    else:
        orders = drawn_orders(tricks)
        for _ in range(permutations):
            yield from _prefixes(next(orders), tricks)


def _prefixes(order: Sequence[str], tricks: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for count in range(len(order) + 1):
        chosen = set(order[:count])
        yield tuple(trick for trick in tricks if trick in chosen)
