"""Fine-tuning a model of OpenMMLab and scoring it: what detection and segmentation share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.card import Card
from engine.evidence import Evidence, leave_evidence
from engine.processes import is_main, tell
from engine.results import Metric, StageResult
from engine.second_test import PLAIN_SECONDS, SUFFIX, VIEWS_SECONDS, with_views

if TYPE_CHECKING:
    from engine.runner import QuietRunner
    from engine.second_test import SecondTest


def finetuning_arguments(
    description: str | None, argv: list[str] | None, *, with_recipe: bool = False
) -> argparse.Namespace:
    """The command line of what trains an artifact further. with_recipe: whether it takes one."""
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add("--artifact", required=True, type=Path, help="directory of the backbone")
    add("--benchmark", default="mini", help="mini, paper or a TOML file")
    add("--tolerate", default=0, type=int, metavar="N", help="unusable files that are left out")
    add("--auto-accumulate", action="store_true", help="what memory does not hold, in parts")
    add("--seed", default=0, type=int)
    add("--work-dir", required=True, type=Path, help="checkpoints, log and TensorBoard events")
    add("--result", required=True, type=Path, help="JSON file to write")
    add("--row", help="how its progress names it; default: the architecture")
    if with_recipe:
        add("--recipe", help="of fine-tuning; default: that of the benchmark")
        add("--recipes", type=Path, metavar="FILE.py", help="recipes and tricks of your own")
    return parser.parse_args(argv)


def prepare_openmmlab() -> str:
    """mmcv's operators, known noise off, no code from data, our backbone: before mmdet or mmseg
    is imported.

    Returns whose operators are in use: "mmcv" or "torchvision".
    """
    from engine.mmcv_ops import install
    from engine.quiet import quiet_openmmlab
    from engine.safe_loading import load_data_only

    quiet_openmmlab()
    load_data_only()
    kernels = install()
    from backbones import openmmlab

    openmmlab.register()
    return kernels


def normalization(card: Card) -> dict[str, Any]:
    """The artifact's mean and std as OpenMMLab's data preprocessors take them.

    Raises ValueError where the images are represented otherwise than as RGB.
    """
    prep = card.preprocessing
    prep.check_rgb("a detector or segmentor")
    rgb = prep.channel_order == "RGB"
    step = 1 if rgb else -1  # mean and std follow the order in which the network takes channels
    return dict(mean=list(prep.mean)[::step], std=list(prep.std)[::step], bgr_to_rgb=rgb)


def frozen(card: Card, *, frozen_stages: int, norm_eval: bool) -> dict[str, Any]:
    """How much of the backbone stays as it is. Of random weights nothing does: a frozen random
    stem or fixed random statistics would handicap the control."""
    if card.weights == "random":
        return dict(frozen_stages=-1, norm_eval=False)
    return dict(frozen_stages=frozen_stages, norm_eval=norm_eval)


def finetuning_runner(
    *,
    label: str,
    stage: str,
    scope: str,
    model: Any,
    training: Any,
    test: Any,
    metric: Any,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    gradient_clip: float | None = None,
    schedule: list[dict[str, Any]],
    seed: int,
    work_dir: Path,
    auto_accumulate: bool,
    channels_last: bool = False,
) -> QuietRunner:
    """SGD with momentum for `steps` over the loader `training`, then one test on `test`.

    metric: an mmengine metric that gives a value in percent or None per name, `per_class` (values
    of the main metric) and `n` (test images). auto_accumulate: what memory does not hold is
    computed in parts. channels_last: the memory format of weights and features.
    """
    from engine.fast_paths import is_fast
    from engine.micro_batches import MicroBatches
    from engine.precision import optim_wrapper
    from engine.runner import build_runner

    optimizer = dict(type="SGD", lr=learning_rate, momentum=0.9, weight_decay=weight_decay)
    clip = None if gradient_clip is None else {"max_norm": gradient_clip}
    if is_fast("fused_optimizer"):
        optimizer["fused"] = True
    return build_runner(
        label=label,
        model=model,
        loader=training,
        steps=steps,
        optim_wrapper=optim_wrapper(optimizer, clip_grad=clip),
        param_scheduler=schedule,
        val_loader=test,
        val_metric=metric,
        work_dir=work_dir,
        seed=seed,
        scope=scope,
        micro_batches=MicroBatches(
            auto=auto_accumulate, setting=f"batch_size in [{stage}] of the benchmark file"
        ),
        workers_setting=f"workers in [{stage}] of the benchmark file",
        channels_last=channels_last and is_fast("channels_last"),
    )


def finetune(
    runner: QuietRunner,
    *,
    label: str,
    result: Path,
    protocol: dict[str, Any],
    classes: Sequence[str],
    main_metric: str,
    evidence: Callable[[Any], Evidence],
    second_test: SecondTest | None = None,
    notes: tuple[str, ...] = (),
) -> None:
    """Trains, tests once with the last weights, writes the StageResult to `result`, what the test
    saw beside it.

    evidence: makes that of the runner's metric, after the test, in the first process. second_test:
    of the same weights, whose main metric and seconds stand beside the plain test's. notes: what a
    reader of the result should know.
    """
    from backbones.cost import count_parameters
    from engine.checkpoints import bare
    from engine.cost import peak_memory_mb, stopwatch
    from engine.divergence import Diverged
    from engine.stage import environment

    cost: dict[str, float] = {}
    measured: dict[str, Any] = {}
    with stopwatch(cost):
        try:
            runner.train()
            measured = dict(runner.train_loop.metrics)
            if second_test is not None:
                cost[PLAIN_SECONDS] = runner.train_loop.validation_seconds
                of_views, cost[VIEWS_SECONDS] = second_test.run(bare(runner.model))
                measured[main_metric + SUFFIX] = of_views[main_metric]
                tell(f"  {label}: {second_test.compared(measured, main_metric, cost)}")
        except Diverged as error:
            tell(f"{label}: {error}")
    per_class, n = measured.pop("per_class", []), measured.pop("n", 0)
    cost["seconds"] += runner.seconds_before
    cost.update(
        peak_memory_mb=peak_memory_mb(),
        iterations=runner.max_iters,
        model_parameters=count_parameters(runner.model),
        **runner.step_cost,
    )
    seen: str | None = None
    lost: tuple[str, ...] = ()
    if measured and is_main():
        (metric,) = runner.val_loop.evaluator.metrics

        def whole() -> Evidence:
            found = evidence(metric)
            if second_test is None:
                return found
            return with_views(found, evidence(second_test.metric), second_test.kept)

        seen, lost = leave_evidence(whole, result)
    found = StageResult(
        status="ok" if measured else "diverged",
        metrics={name: Metric(value=value, n=n) for name, value in measured.items()},
        per_class={main_metric: dict(zip(classes, per_class, strict=bool(measured)))},
        cost=cost,
        protocol={**protocol, **runner.protocol},
        environment=environment(),
        notes=(*notes, *runner.notes, *lost),
        evidence_sha256=seen,
    )
    if is_main():
        found.write(result)
