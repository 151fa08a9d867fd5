"""The range test of a training, before its first step; the training is then as if it never was."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from classification.budget import TrainingPlan
from classification.learning_rate_plot import write_plot
from classification.learning_rate_range import (
    FILE_NAME,
    RangeTest,
    has_diverged,
    read_range,
    suggest,
    sweep,
)
from classification.tricks.found_learning_rate import range_test_of
from engine.distributed import anyone
from engine.interruption import Interrupted, end_workers, step_in_hand
from engine.processes import of_the_first, tell, wait_for_others, world_size
from engine.randomness import StepRandomness


class FindLearningRate(Hook):  # type: ignore[misc]
    """Finds the base learning rate of the plan's recipe and sets it, each part's in its proportion.

    All parts that ever learn, learn in the test. Weights, statistics, the optimizer and the number
    format's scale are then set back; each step of the training seeds its randomness itself. The
    test lies in the work folder, so that a training that goes on does not do it again; one that was
    interrupted within it begins it anew.
    """

    found: RangeTest | None = None

    def __init__(self, plan: TrainingPlan, *, seed: int, work_dir: Path, label: str) -> None:
        trick = range_test_of(plan.recipe)
        assert trick is not None, "the recipe asks for it"
        self.trick, self.plan, self.work_dir, self.label = trick, plan, work_dir, label
        own_seed = int(np.random.SeedSequence([seed, 3]).generate_state(1)[0])
        self.randomness = StepRandomness(own_seed)
        self.about = {
            "recipe": plan.recipe.digest(),
            "steps": plan.steps,
            "batch_size": plan.batch_size,
            "train_size": plan.train_size,
            "seed": seed,
        }

    @property
    def protocol(self) -> dict[str, float]:
        return {} if self.found is None else {self.trick.name: self.found.rate}

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.found is None else (f"{self.found.in_words()})",)

    def before_train(self, runner: Any) -> None:
        self.found = of_the_first(lambda: read_range(self.work_dir, self.about))
        if runner.iter:  # its optimizer's state holds the rate
            if self.found is None:
                raise ValueError(
                    f"{self.work_dir / FILE_NAME} is gone, and the training goes on from step "
                    f"{runner.iter} with the rate that it held: put it back, or delete the folder "
                    "to begin anew"
                )
            return
        scales = self._scales(runner.optim_wrapper.optimizer)
        if self.found is None:
            self.found = self._test(runner, scales)
            plot = of_the_first(lambda: self._leave(self.found))
            tell(f"{self.label}: {self.found.in_words()}; plot: {plot})")
        _set(runner.optim_wrapper.optimizer, self.found.rate, scales)

    def _scales(self, optimizer: Any) -> list[float]:
        """Of each group, of the rate of the head; without what a division leaves of rounding."""
        base = self.plan.recipe.optimizer.learning_rate * self.plan.learning_rate_scale
        known = self.plan.recipe.tuning.learning_rate_scales()
        ratios = [group["lr"] / base for group in optimizer.param_groups]
        return [min(known, key=lambda scale: abs(scale - ratio)) for ratio in ratios]

    def _leave(self, test: RangeTest | None) -> str:
        assert test is not None
        path = write_plot(test, self.work_dir, self.label)
        test.write(self.work_dir, self.about)
        return str(path)

    def _test(self, runner: Any, scales: list[float]) -> RangeTest:
        trick, wrapper = self.trick, runner.optim_wrapper
        tell(
            f"{self.label}: learning rate range test, {trick.lowest:g} to {trick.highest:g} in "
            f"{trick.steps} steps"
        )
        weights = {n: t.detach().clone() for n, t in runner.model.state_dict().items()}
        optimizer = deepcopy(wrapper.state_dict())
        rates = sweep(trick.lowest, trick.highest, trick.steps)
        try:
            losses = self._losses(runner, rates, scales)
        except Interrupted:
            end_workers()
            raise
        finally:
            # Its workers end now; left to the garbage collector each would be waited for.
            runner.train_loop.dataloader._iterator = None
        wrapper.zero_grad()
        wrapper.load_state_dict(optimizer)
        with torch.no_grad():
            for name, tensor in runner.model.state_dict().items():
                tensor.copy_(weights[name])
        self._count(runner, runner.max_iters)
        wait_for_others()
        return suggest(rates[: len(losses)], losses, rule=trick.rule, steps=trick.steps)

    def _losses(self, runner: Any, rates: Any, scales: list[float]) -> list[float]:
        """Before each step, until the last one or divergence."""
        loop, together = runner.train_loop, world_size() > 1
        stream = loop._stream()
        runner.model.train()
        losses: list[float] = []
        for step, rate in enumerate(rates):
            _set(runner.optim_wrapper.optimizer, float(rate), scales)
            self.randomness.before_train_iter(runner, step)
            parts = []
            with step_in_hand(agree=anyone if together else None):
                # Each step is counted as the first: memory that it lacks, it may still divide.
                self._count(runner, self.plan.accumulation)
                for _ in range(self.plan.accumulation):
                    found = runner.micro_batches.train_step(runner, next(stream))["loss"]
                    parts.append(found.detach().float())
                mean = torch.stack(parts).mean()
                all_reduce(mean, op="mean")
                losses.append(float(mean))
            if has_diverged(losses):
                break
        return losses

    def _count(self, runner: Any, steps: int) -> None:
        """Has the optimizer's wrapper count the micro-steps from 0."""
        parts = runner.micro_batches.parts
        runner.optim_wrapper.initialize_count_status(runner.model, 0, steps * parts)


def _set(optimizer: Any, rate: float, scales: list[float]) -> None:
    for group, scale in zip(optimizer.param_groups, scales, strict=True):
        group["lr"] = group["base_lr"] = rate * scale
