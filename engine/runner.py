"""One way to assemble an mmengine Runner, for pretraining, detection and segmentation alike."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.visualization import Visualizer
from torch import cuda, nn
from torch.utils.data import DataLoader

from engine import checkpoints
from engine.averaging import AveragedWeights
from engine.data_wait import DataWait
from engine.distributed import BatchNorm, SameEverywhere, anyone, parallel, require_same_step
from engine.divergence import Diverged, StopOnDivergence
from engine.fast_paths import is_fast, switched_off
from engine.interruption import Interrupted, end_workers, step_in_hand
from engine.micro_batches import MicroBatches
from engine.precision import overflowed_steps
from engine.prefetch import Prefetched
from engine.processes import how_it_ran, is_main, tell, world_size
from engine.progress import Progress
from engine.randomness import StepRandomness
from engine.safe_loading import load_data_only
from engine.step_log import StepLog
from engine.threads import job_cores, threads_in_words
from engine.trackers import End, Tracking, tracking_of


class QuietRunner(Runner):
    """mmengine's Runner whose log goes to the file (errors to the screen too) and which goes on
    from its newest checkpoint that is whole.

    seconds_before: that it had trained until then. remarks: on checkpoints that are damaged, in
    words; empty where none is. workers_setting: where the user says how many data workers load.
    channels_last: the memory format that weights get once they are drawn. choices: what was
    measured, by name, which a training that goes on keeps to. batch_norm: of several processes,
    whether it sees the batch or one process's share.
    """

    seconds_before = 0.0
    remarks = ""
    workers_setting = "the number of data workers"
    choices: Mapping[str, str] = MappingProxyType({})
    channels_last = False
    batch_norm: BatchNorm = "global"
    model: nn.Module
    _has_loaded: bool

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        self.tracking = Tracking()
        if is_main():
            self.tracking = tracking_of(Path(self.work_dir), self.logger)
        return super().build_visualizer(
            dict(type="mmengine.Visualizer", vis_backends=self.tracking.backends)
        )

    def load_or_resume(self) -> None:
        if not self._has_loaded:
            self.seconds_before, self.remarks = checkpoints.resume(self)
            if world_size() > 1:
                require_same_step(self.iter)
            self._has_loaded = True

    def _init_model_weights(self) -> None:
        super()._init_model_weights()
        if self.channels_last:  # not before: draws fill a tensor in the order of its memory
            self.model.to(memory_format=torch.channels_last)
        if world_size() > 1:  # not before: gradients lie as the weights did when they were shared
            self.model = parallel(self.model, batch_norm=self.batch_norm)

    @property
    def step_cost(self) -> dict[str, float]:
        """For a result: the share of the time in which it waited for data, in [0, 1], and float16's
        steps that were left out; where they are known."""
        overflowed, share = overflowed_steps(self.optim_wrapper), self.data_wait.share
        known = {"data_wait_share": share, "overflowed_steps": overflowed}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its numbers should know."""
        overflowed = overflowed_steps(self.optim_wrapper)
        left_out = (
            f"{overflowed} optimizer steps were left out because float16 gradients overflowed"
            if overflowed
            else ""
        )
        waited = self.data_wait.note(self.workers_setting)
        plain = switched_off()
        by_hand = f"taken the plain way, not the fast one: {', '.join(plain)}" if plain else ""
        of_hooks = [note for hook in self.hooks for note in getattr(hook, "notes", ())]
        found = (self.remarks, left_out, *of_hooks, waited, by_hand, *self.tracking.notes)
        return tuple(note for note in found if note)

    @property
    def protocol(self) -> dict[str, Any]:
        """How the steps were shared out, where not one process did each batch whole; and what else
        a hook found out on its way, in an attribute of this name."""
        found: dict[str, Any] = how_it_ran()
        if world_size() > 1:
            found["batch_norm"] = self.batch_norm
        for hook in self.hooks:
            found |= getattr(hook, "protocol", {})
        return found

    def train(self) -> nn.Module:
        how: End = "failed"
        try:
            self.tracking.begin()
            model: nn.Module = super().train()
            how = "ok"
            return model
        except KeyboardInterrupt:  # which signals are, too
            how = "interrupted"
            raise
        finally:
            result = self.train_loop.metrics if how == "ok" else None
            self.tracking.end(how, result, self.iter)
            self._let_go()

    def _let_go(self) -> None:
        """Closes what mmengine keeps open, and what it keeps under this run's name, until the
        process ends: its next training would write into this one's log."""
        self.visualizer.close()
        for handler in list(self.logger.handlers):
            if isinstance(handler, logging.FileHandler):
                self.logger.removeHandler(handler)
                handler.close()
        for kept in (MMLogger, MessageHub, Visualizer, DefaultScope):
            kept._instance_dict.pop(self.experiment_name, None)
        gc.collect()  # a runner is full of cycles: the one before would hold its memory for long

    @property
    def data_wait(self) -> DataWait:
        found: DataWait = self.train_loop.data_wait
        return found

    @property
    def micro_batches(self) -> MicroBatches:
        (found,) = [hook for hook in self.hooks if isinstance(hook, MicroBatches)]
        return found

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        if world_size() > 1:  # by `_init_model_weights`
            return model.to(get_device())
        wrapped: nn.Module = super().wrap_model(model_wrapper_cfg, model)
        return wrapped


SAVE_SECONDS = 300.0
"""How old a checkpoint may get: what a training that is killed loses at most, and a step."""


class StepLoop(IterBasedTrainLoop):
    """Trains for a number of steps; a resumed run starts its data stream where it stopped.

    A hook may end it earlier by setting `stop_training`. It writes a checkpoint every
    `checkpoint_interval` steps, SAVE_SECONDS after the last one, before each validation and when a
    signal ends it. accumulate: steps after which the optimizer moves. metrics, validation_seconds:
    of the last validation, which always follows the last step.
    """

    metrics: dict[str, Any] | None = None
    validation_seconds = 0.0
    _validated_at = -1
    _whole = True  # no step is half done

    def __init__(
        self, *args: Any, checkpoint_interval: int, accumulate: int = 1, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.checkpoint_interval, self.accumulate = checkpoint_interval, accumulate
        self.data_wait = DataWait(workers=self.dataloader.num_workers, cores=job_cores())

    def run(self) -> nn.Module:
        batches = self.dataloader.batch_sampler
        batches.sampler.start = self._iter * batches.batch_size * batches.sampler.world_size
        steps_per_epoch = max(1, len(batches.sampler) // batches.batch_size)
        self._started = time.monotonic() - self.runner.seconds_before
        self._saved_at, self._saved_time = self._iter, time.monotonic()
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        if self._iter and self._iter % self.val_interval == 0:
            self._validate()  # a checkpoint is written before the validation of its step
        stream: Iterator[Any] | None = None
        try:
            stream = self._stream()
            while self._iter < self._max_iters and not self.stop_training:
                self.runner.model.train()
                self._step(stream)
                if self._iter % steps_per_epoch < self.accumulate:
                    self._log_data_wait(self._iter // steps_per_epoch)
                validates = self._iter % self.val_interval == 0 or self._iter == self._max_iters
                old = time.monotonic() - self._saved_time > SAVE_SECONDS
                if validates or old or self._iter % self.checkpoint_interval == 0:
                    self._save()
                if validates and self._iter < self._max_iters:
                    self._validate()
        except Interrupted:
            self._save_interrupted()
            end_workers()
            raise
        finally:
            # The workers end with the last reference to their iterator. Left to the garbage
            # collector, as a part of a cycle, each would be waited for in vain for five seconds.
            del stream
            self.dataloader_iterator = self.dataloader._iterator = None
        if note := self.data_wait.note(self.runner.workers_setting):
            self.runner.logger.info(note)
            tell(f"  {note}")
        if self._validated_at != self._iter:
            self._validate()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        model: nn.Module = self.runner.model
        return model

    def _step(self, stream: Iterator[Any]) -> None:
        """One step of the optimizer, with all that it accumulates: gradients are not saved."""
        together = world_size() > 1
        # Nothing is in hand while data is waited for, except where others wait for us.
        batch = None if together else self.data_wait.next_of(stream)
        with step_in_hand(agree=anyone if together else None):
            self._whole = False
            self.run_iter(self.data_wait.next_of(stream) if together else batch)
            while self._iter % self.accumulate and self._iter < self._max_iters:
                self.run_iter(self.data_wait.next_of(stream))
            self._whole = True

    def run_iter(self, data_batch: Any) -> None:
        # As mmengine's, but for who does the step.
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        outputs = self.runner.micro_batches.train_step(self.runner, data_batch)
        self.runner.call_hook(
            "after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs
        )
        self._iter += 1
        self.data_wait.step_ends()

    def _stream(self) -> Iterator[Any]:
        """The batches; on a GPU each is there one step ahead."""
        stream: Iterator[Any] = iter(self.dataloader)
        if not (cuda.is_available() and is_fast("prefetch")):
            return stream
        preprocessor: Any = checkpoints.bare(self.runner.model).data_preprocessor
        preprocessor._non_blocking = True
        return Prefetched(stream, preprocessor.cast_data)

    def _log_data_wait(self, epoch: int) -> None:
        share = self.data_wait.end_of_epoch()
        if share is not None:
            self.runner.logger.info(f"epoch {epoch}: waited for data {100 * share:.1f}% of it")
            self.runner.visualizer.add_scalar("train/data_wait_share", share, self._iter)

    def _save(self) -> None:
        if self._saved_at != self._iter:
            checkpoints.save(self.runner, seconds=time.monotonic() - self._started)
            self._saved_at, self._saved_time = self._iter, time.monotonic()

    def _save_interrupted(self) -> None:
        if self._whole:
            with suppress(Diverged):  # that it is lost is for the run that goes on to find
                self._save()
        if is_main():
            # By which signal says little: whoever runs us ends us by SIGTERM after a Ctrl-C too.
            print(
                f"  interrupted at step {self._iter} of {self._max_iters}; the same command goes "
                f"on from step {self._saved_at}",
                file=sys.stderr,
                flush=True,
            )

    def _validate(self) -> None:
        self._validated_at = self._iter
        if self.runner.val_loop is not None:
            started = time.monotonic()
            self.metrics = self.runner.val_loop.run()
            self.validation_seconds = time.monotonic() - started


def build_runner(
    *,
    label: str,
    model: nn.Module,
    loader: DataLoader[Any],
    steps: int,
    optim_wrapper: dict[str, Any],
    work_dir: str | Path,
    seed: int,
    scope: str = "mmengine",
    param_scheduler: list[dict[str, Any]] | None = None,
    val_loader: DataLoader[Any] | None = None,
    val_metric: BaseMetric | None = None,
    val_interval: int | None = None,
    checkpoint_interval: int | None = None,
    ema_decay: float | None = None,
    micro_batches: MicroBatches | None = None,
    hooks: Sequence[Hook] = (),
    workers_setting: str = QuietRunner.workers_setting,
    channels_last: bool = False,
    choices: Mapping[str, str] | None = None,
    batch_norm: BatchNorm = "global",
) -> QuietRunner:
    """A runner that trains `model` for `steps`, validates, saves, resumes and logs.

    label: what is trained, for the progress line. steps: micro-steps, accumulated ones counted.
    work_dir: logs, TensorBoard events and checkpoints; a checkpoint found there is resumed, and
    an `engine.tracking.TrackedRun` that a driver left there says who else is told.
    ema_decay: keeps, validates and ends with an exponential moving average of the weights.
    val_interval, checkpoint_interval: in steps; by default at the end, and every tenth.
    optim_wrapper: as `engine.precision.optim_wrapper` makes it. micro_batches: what happens when
    memory runs out; by default the training ends with a message. workers_setting: where the user
    says how many data workers there are. channels_last: the weights' memory format. choices: what
    was measured for this training, kept in its checkpoints for `engine.checkpoints.choices`.
    batch_norm: of several processes, whether it sees the batch or one process's share.
    """
    load_data_only()
    checkpoints.remove_unfinished(work_dir)
    every = checkpoint_interval or max(1, steps // 10)
    # Gradients are not saved: a checkpoint follows a whole step, not one of its micro-steps.
    accumulate = optim_wrapper["accumulative_counts"]
    every += -every % accumulate
    line_interval, window = max(1, min(50, steps // 10)), 10
    default_hooks: dict[str, Any] = dict(
        logger=LoggerHook(interval=line_interval, log_metric_by_epoch=False),
        checkpoint=None,  # StepLoop saves
        sampler_seed=None,  # EpochStream knows its epoch
    )
    if is_fast("unread_losses"):
        log = StepLog(interval=line_interval, window=window)
        default_hooks |= dict(runtime_info=log, timer=None)
    ours: list[Hook] = [
        StepRandomness(seed),
        StopOnDivergence(),
        micro_batches or MicroBatches(),
        *hooks,
    ]
    if ema_decay is not None:
        ours.append(AveragedWeights(ema_decay, accumulate=accumulate))
    if world_size() > 1:
        ours.append(SameEverywhere())
    if val_metric is not None:
        # "gpu" is mmengine's word for collecting through the process group, gloo's too; "cpu"
        # would leave pickles in the working directory.
        val_metric.collect_device = "gpu"
    if is_main():
        ours.append(Progress(label))
    runner = QuietRunner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(
            type=StepLoop,
            max_iters=steps,
            val_interval=val_interval or steps,
            checkpoint_interval=every,
            accumulate=accumulate,
        ),
        optim_wrapper=optim_wrapper,
        param_scheduler=param_scheduler,
        val_dataloader=val_loader,
        val_cfg=None if val_loader is None else dict(),
        val_evaluator=None if val_metric is None else Evaluator([val_metric]),
        default_hooks=default_hooks,
        custom_hooks=ours,
        log_processor=dict(by_epoch=False, window_size=window),
        default_scope=scope,
        randomness=dict(seed=seed),
        resume=True,  # from what load_or_resume finds
        experiment_name=Path(work_dir).name,
    )
    runner.workers_setting, runner.channels_last = workers_setting, channels_last
    runner.choices, runner.batch_norm = choices or {}, batch_norm
    runner.logger.info(threads_in_words())
    return runner
