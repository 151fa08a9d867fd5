"""One way to assemble an mmengine Runner, for pretraining, detection and segmentation alike."""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.logging import MMLogger
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from backbones.atomic import replace_durably
from engine.averaging import AveragedWeights
from engine.checkpoints import ELAPSED, PlainCheckpoint, latest_checkpoint
from engine.divergence import StopOnDivergence
from engine.progress import Progress
from engine.randomness import EpochStream, StepRandomness

_SAVING = ".saving-"


class QuietRunner(Runner):
    """mmengine's Runner whose log goes to the file (errors to the screen too) and whose
    checkpoints appear whole or not at all."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger

    @property
    def seconds_before(self) -> float:
        """How long the run had trained before it was interrupted and resumed."""
        return float(self.message_hub.get_info(ELAPSED, 0.0))

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        kwargs.setdefault("strict", True)  # a checkpoint of another model is an error
        with redirect_stdout(io.StringIO()):  # mmengine prints what it logs as well
            return super().load_checkpoint(*args, **kwargs)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        with tempfile.TemporaryDirectory(prefix=_SAVING, dir=out_dir) as temporary:
            super().save_checkpoint(temporary, filename, *args, **kwargs)
            replace_durably(Path(temporary) / filename, Path(out_dir) / filename)


class StepLoop(IterBasedTrainLoop):
    """Trains for a number of steps; a resumed run starts its data stream where it stopped.

    A hook may end it earlier by setting `stop_training`. metrics: of the last validation, which
    always follows the last step.
    """

    metrics: dict[str, Any] | None = None
    _validated_at = -1

    def run(self) -> nn.Module:
        batches = self.dataloader.batch_sampler
        batches.sampler.start = self._iter * batches.batch_size * batches.sampler.world_size
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        if self._iter and self._iter % self.val_interval == 0:
            self._validate()  # a checkpoint is written before the validation of its step
        stream = iter(self.dataloader)
        try:
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self.run_iter(next(stream))
                if self._iter % self.val_interval == 0 and self._iter < self._max_iters:
                    self._validate()
        finally:
            # The workers end with the last reference to their iterator. Left to the garbage
            # collector, as a part of a cycle, each would be waited for in vain for five seconds.
            del stream
            self.dataloader_iterator = self.dataloader._iterator = None
        if self._validated_at != self._iter:
            self._validate()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _validate(self) -> None:
        self._validated_at = self._iter
        if self.runner.val_loop is not None:
            self.metrics = self.runner.val_loop.run()


def train_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    repeats: int = 1,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader:
    """An endless loader over `EpochStream`; the data set is indexed by SampleKey."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochStream(len(dataset), seed=seed, repeats=repeats),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
    )


def _remove_unfinished(work_dir: str | Path) -> None:
    """What a process that was killed while saving has left behind."""
    for folder in Path(work_dir).glob(f"{_SAVING}*"):
        shutil.rmtree(folder)


def build_runner(
    *,
    label: str,
    model: nn.Module,
    loader: DataLoader,
    steps: int,
    optim_wrapper: dict[str, Any],
    work_dir: str | Path,
    seed: int,
    scope: str = "mmengine",
    param_scheduler: list[dict[str, Any]] | None = None,
    val_loader: DataLoader | None = None,
    val_metric: BaseMetric | None = None,
    val_interval: int | None = None,
    checkpoint_interval: int | None = None,
    ema_decay: float | None = None,
    hooks: Sequence[Hook] = (),
) -> QuietRunner:
    """A runner that trains `model` for `steps`, validates, saves, resumes and logs.

    label: what is trained, for the progress line. steps: micro-steps, accumulated ones counted.
    work_dir: logs, TensorBoard events and checkpoints; a checkpoint found there is resumed.
    ema_decay: keeps, validates and ends with an exponential moving average of the weights.
    val_interval, checkpoint_interval: in steps; by default at the end, and every tenth.
    optim_wrapper: as `engine.precision.optim_wrapper` makes it.
    """
    _remove_unfinished(work_dir)
    resumed = latest_checkpoint(work_dir)
    every = checkpoint_interval or max(1, steps // 10)
    # Gradients are not saved: a checkpoint follows a whole step, not one of its micro-steps.
    every += -every % optim_wrapper["accumulative_counts"]
    default_hooks = dict(
        logger=LoggerHook(interval=max(1, min(50, steps // 10)), log_metric_by_epoch=False),
        checkpoint=CheckpointHook(
            interval=every, by_epoch=False, max_keep_ckpts=2, save_last=False
        ),
        sampler_seed=None,  # EpochStream knows its epoch
    )
    ours: list[Hook] = [
        StepRandomness(seed),
        StopOnDivergence(checkpoint_interval=every, validation_interval=val_interval or steps),
        PlainCheckpoint(),
        *hooks,
    ]
    if ema_decay is not None:
        accumulate = optim_wrapper["accumulative_counts"]
        ours.append(AveragedWeights(ema_decay, accumulate=accumulate))
    ours.append(Progress(label))
    return QuietRunner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(type=StepLoop, max_iters=steps, val_interval=val_interval or steps),
        optim_wrapper=optim_wrapper,
        param_scheduler=param_scheduler,
        val_dataloader=val_loader,
        val_cfg=None if val_loader is None else dict(),
        val_evaluator=None if val_metric is None else Evaluator([val_metric]),
        default_hooks=default_hooks,
        custom_hooks=ours,
        log_processor=dict(by_epoch=False, window_size=10),
        visualizer=dict(
            type="mmengine.Visualizer",
            vis_backends=[dict(type="mmengine.TensorboardVisBackend")],
        ),
        default_scope=scope,
        randomness=dict(seed=seed),
        load_from=None if resumed is None else str(resumed),
        resume=resumed is not None,
        experiment_name=Path(work_dir).name,
    )
