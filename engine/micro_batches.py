"""A batch that does not fit into memory is computed in parts, or the stage ends and says so."""

from __future__ import annotations

import gc
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from engine.checkpoints import bare
from engine.memory import Batch, images_of, in_words, is_out_of_memory, measure, part_of, step_loss
from engine.processes import tell, world_size
from engine.randomness import StepRandomness
from engine.shared_batch import alone, largest


class BatchTooLarge(ValueError):
    """A training step ran out of memory; the message says which batch would fit."""


class MicroBatches(Hook):
    """Does each training step; out of memory it raises BatchTooLarge, or divides the batch.

    auto: computes the batch in parts of half as many images, and again until they fit; their
    gradients are added up before the optimizer moves, so that the batch stays what it was. Batch
    normalization sees one part at a time. smallest: images of a part. setting: where the user
    says how large a batch is.

    What runs in parts goes on so, after an interruption too. Several processes wait for each other
    within a step, so that none could divide it on its own: with auto each tries its share out
    alone before the first step, and all compute as many parts as the one that needs most.
    """

    def __init__(
        self, *, auto: bool = False, smallest: int = 1, setting: str = "the batch size"
    ) -> None:
        self.auto, self.smallest, self.setting = auto, smallest, setting
        self.parts = 1
        self.images: int | None = None
        self.note: str | None = None
        self._tried = False

    @property
    def protocol(self) -> dict[str, int]:
        """What ran, where it was not the whole batch."""
        if self.parts == 1 or self.images is None:
            return {}
        return {"micro_batch": self.images // self.parts}

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self.note is None else (self.note,)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if self.parts > 1:
            checkpoint["micro_batches"] = {
                "parts": self.parts, "images": self.images, "note": self.note
            }  # fmt: skip

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if (saved := checkpoint.get("micro_batches")) is not None:
            self.parts, self.images = saved["parts"], saved["images"]
            self.note = saved["note"]

    def before_train(self, runner: Any) -> None:
        self.accumulate = runner.optim_wrapper._accumulative_counts
        if self.parts > 1:
            self._divide(runner)

    def train_step(self, runner: Any, batch: Batch) -> dict[str, Any]:
        """The step's losses; those of several parts averaged."""
        if self.auto and world_size() > 1 and not self._tried:
            self._try_out(runner, batch)
        if images_of(batch) % self.parts:
            raise ValueError(
                f"the training computes each batch in {self.parts} parts, and a share of "
                f"{images_of(batch)} images cannot be: start fewer processes"
            )
        statistics = [b.clone() for b in runner.model.buffers()] if self.auto else []
        while True:
            try:
                return self._in_parts(runner, batch)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Out of the block above, since the exception holds all that the step had computed.
            gc.collect()
            moved = runner.optim_wrapper._inner_count >= (runner.iter + 1) * self.parts
            runner.optim_wrapper.zero_grad()
            fewer = self._fewer(images_of(batch), self.parts)
            half_done = moved or runner.iter % self.accumulate != 0
            if not self.auto or fewer is None or half_done or world_size() > 1:
                raise BatchTooLarge(self._refusal(runner, batch))
            self._note(runner, images_of(batch), images_of(batch) // fewer)
            _as_before(runner, statistics)
            self._divide(runner)

    def _note(self, runner: Any, share: int, parts: int) -> None:
        self.images, self.parts = share * world_size(), parts
        self.note = (
            f"out of memory at step {runner.iter + 1} with {share} images at once: "
            f"from there on {parts} parts of {share // parts}, their gradients added up; batch "
            "normalization sees one part at a time"
        )
        tell(f"  {self.note}")

    def _try_out(self, runner: Any, batch: Batch) -> None:
        """Divides the batch as the process with the least memory has to."""
        self._tried = True
        statistics = [b.clone() for b in runner.model.buffers()]
        parts: int | None = self.parts
        with alone():
            while parts is not None and not self._fits(runner, batch, images_of(batch) // parts):
                fewer = self._fewer(images_of(batch), parts)
                parts = None if fewer is None else images_of(batch) // fewer
                gc.collect()
                runner.optim_wrapper.zero_grad()
        runner.optim_wrapper.zero_grad()
        _as_before(runner, statistics)
        # Where not even the smallest part fits, the step says so in the process that it happens to.
        (most,) = largest([self.parts if parts is None else parts])
        if most > self.parts:
            self._note(runner, images_of(batch), most)
            self._divide(runner)

    def _fits(self, runner: Any, batch: Batch, images: int) -> bool:
        try:
            part = part_of(batch, 0, images)
            step_loss(bare(runner.model), part, runner.optim_wrapper).backward()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _in_parts(self, runner: Any, batch: Batch) -> dict[str, Any]:
        wrapper, count = runner.optim_wrapper, images_of(batch) // self.parts
        if self.parts == 1:
            whole: dict[str, Any] = runner.model.train_step(batch, optim_wrapper=wrapper)
            return whole
        outputs = [
            runner.model.train_step(part_of(batch, start, start + count), optim_wrapper=wrapper)
            for start in range(0, count * self.parts, count)
        ]
        return {key: _mean([output[key] for output in outputs]) for key in outputs[0]}

    def _divide(self, runner: Any) -> None:
        """Has the optimizer move once for all parts."""
        runner.optim_wrapper._accumulative_counts = self.accumulate * self.parts
        runner.optim_wrapper.initialize_count_status(
            runner.model, runner.iter * self.parts, runner.max_iters * self.parts
        )

    def _fewer(self, images: int, parts: int) -> int | None:
        """Half as many images for a part, or the next number that divides the batch."""
        half = images // parts // 2
        return next((n for n in range(half, self.smallest - 1, -1) if images % n == 0), None)

    def _refusal(self, runner: Any, batch: Batch) -> str:
        images, step = images_of(batch), f"step {runner.iter + 1} of {runner.max_iters}"
        lower = f"lower {self.setting}"
        auto = not self.auto and self._fewer(images, self.parts) is not None
        advice = (
            f"run again with --auto-accumulate, which computes the same batch in parts, or {lower}"
            if auto
            else lower
        )
        at_once = images // self.parts
        what = f"out of memory at {step}, with {at_once} images at once"
        try:
            with alone():
                need = measure(runner.model, batch, runner.optim_wrapper, smallest=self.smallest)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return f"{what}; not even {self.smallest} would fit: take a smaller network or images"
        found = (
            f"{what}: they need about {in_words(need.of(at_once))} ({in_words(need.image)} an "
            f"image and {in_words(need.fixed)} for weights, gradients and the optimizer), "
            f"{in_words(need.available)} is there"
        )
        if need.fitting >= at_once:
            return (
                f"{found}, which would be enough had nothing else taken it; {at_once // 2} images "
                f"leave room. To go on, {advice}"
            )
        return f"{found}: {need.fitting} images would fit. To go on, {advice}"


def _as_before(runner: Any, statistics: list[Tensor]) -> None:
    """Running statistics and generators as they were when the step began."""
    for buffer, before in zip(runner.model.buffers(), statistics, strict=True):
        buffer.copy_(before)
    for hook in runner.hooks:
        if isinstance(hook, StepRandomness):
            hook.before_train_iter(runner, runner.iter)


def _mean(values: list[Any]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.stack([value.detach() for value in values]).mean(dim=0)
    return sum(values) / len(values)
