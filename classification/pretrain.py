"""Pretrains a backbone with a recipe, validates it, exports it as an artifact.

python classification/pretrain.py --backbone resnet50d_mixup [--benchmark mini] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.imagenet_layout import ImageNetIndex, read_index
from benchmarks.prepare import PreparedBenchmark
from benchmarks.ready_everywhere import ensure_ready_everywhere
from classification.budget import TrainingPlan, training_plan
from classification.derived import find_recipe
from classification.identity import TEACHER_SEED, artifact_name, teacher_of, trained_identity
from classification.names import parse_backbone
from classification.protocol import pretraining_protocol
from classification.recipes.user_file import load_user_file
from engine.evidence import Evidence, leave_evidence
from engine.processes import is_main, tell, wait_for_others
from engine.results import Metric, StageResult
from engine.stage import run_stage

if TYPE_CHECKING:
    from classification.metric import AnswerMetric


def pretrain(
    name: str,
    prepared: PreparedBenchmark,
    *,
    seed: int,
    artifact: Path,
    work_dir: Path,
    result: Path,
    teacher: str | None,
    auto_accumulate: bool = False,
) -> StageResult:
    """Trains, validates, writes `result`, what it saw beside it, then the artifact, and proves it.

    The artifact comes last: a pretraining that has one counts as done, whatever else is there.

    teacher: the directory of its artifact, or `timm:<model>[@FILE]`. A diverged run leaves no
    artifact. An interrupted one goes on from its last checkpoint.
    """
    from benchmarks.shrunk_images import training_images
    from engine.cost import peak_memory_mb, stopwatch
    from engine.divergence import Diverged
    from engine.stage import environment

    architecture, recipe_name = parse_backbone(name)
    if (teacher is None) != (teacher_of(name) is None):
        given = "none is given" if teacher is None else f"{teacher} is given"
        wanted = "has no teacher" if teacher_of(name) is None else "needs --teacher"
        raise ValueError(f"{name} {wanted}, and {given}")
    budget = prepared.benchmark.require_pretraining()
    train = training_images(budget, prepared.digests["pretraining"])
    val = read_index(budget.root, "val", left_out=budget.left_out)
    plan = training_plan(
        find_recipe(recipe_name), budget, len(train.samples), architecture=architecture
    )
    protocol = pretraining_protocol(
        architecture, plan.recipe, prepared.benchmark, prepared.digests["pretraining"]
    )
    from classification.training import build_training

    cost: dict[str, float] = {}
    metrics: dict[str, Any] | None = None
    with stopwatch(cost):
        training = build_training(
            plan,
            label=f"pretraining, {name}, seed {seed}",
            architecture=architecture,
            width=prepared.benchmark.backbone.width,
            seed=seed,
            train=train.samples,
            val=val.samples,
            num_classes=len(train.classes),
            workers=budget.workers,
            work_dir=work_dir,
            teacher=teacher,
            auto_accumulate=auto_accumulate,
            batch_norm=budget.batch_norm,
        )
        runner = training.runner
        try:
            runner.train()
            metrics = runner.train_loop.metrics
        except Diverged as error:
            tell(f"{name}: {error}")
    cost["seconds"] += runner.seconds_before
    cost["peak_memory_mb"] = peak_memory_mb()
    cost["iterations"] = runner.iter
    cost.update(runner.step_cost)
    cost.update(_teachers_cost(teacher))
    protocol = {**protocol, "precision": training.precision, **runner.protocol}
    known = (*training.notes, *prepared.notes("pretraining"), *runner.notes)
    if metrics is None:
        diverged = StageResult(
            status="diverged",
            cost=cost,
            protocol=protocol,
            environment=environment(),
            notes=known,
        )
        if is_main():
            diverged.write(result)
        return diverged
    notes = (*known, *_weak_teacher(name, metrics, teacher))
    seen: str | None = None
    lost: tuple[str, ...] = ()
    if is_main():
        seen, lost = leave_evidence(
            lambda: _evidence(training.metric, train.classes, val, work_dir), result
        )
    found = StageResult(
        status="ok",
        metrics=_metrics(metrics),
        per_class={"top1": dict(zip(train.classes, metrics["top1_per_class"], strict=True))},
        cost=cost,
        protocol=protocol,
        environment=environment(),
        notes=(*notes, *lost),
        evidence_sha256=seen,
    )
    if is_main():
        found.write(result)
        _export(
            training.classifier,
            artifact,
            plan,
            prepared,
            name,
            seed=seed,
            classes=train.classes,
            val=val,
            metrics=metrics,
            cost=cost,
            notes=notes,
        )
    wait_for_others()  # its student may be next
    return found


def _metrics(found: dict[str, Any]) -> dict[str, Metric]:
    n = found["n"]
    return {
        **{key: Metric(value=found[key], n=n) for key in ("top1", "top5")},
        "ece": Metric(value=found["ece"], n=n, higher_is_better=False),
        "nll": Metric(value=found["nll"], n=n, unit="nats", higher_is_better=False),
    }


def _evidence(
    metric: AnswerMetric, classes: tuple[str, ...], val: ImageNetIndex, work_dir: Path
) -> Evidence:
    """What the last validation saw, and the range test where there was one."""
    from classification.evidence import classification_evidence
    from classification.learning_rate_range import with_ranges

    assert metric.answers is not None, "a validation follows the last step"
    found = classification_evidence(metric.answers, classes=classes, samples=val.samples)
    return with_ranges(found, [work_dir])


def _teachers_cost(teacher: str | None) -> dict[str, float]:
    """teacher_seconds: of the training of its teacher, and of that one's own, as far as known."""
    if teacher is None or teacher.startswith("timm:"):
        return {}
    known = read_card(teacher).cost or {}
    if "seconds" not in known:
        return {}
    return {"teacher_seconds": known["seconds"] + known.get("teacher_seconds", 0.0)}


def _weak_teacher(name: str, metrics: dict[str, Any], teacher: str | None) -> tuple[str, ...]:
    """A warning where the student has become better than its teacher, as far as that is known."""
    if teacher is None or teacher.startswith("timm:"):
        return ()
    known = read_card(teacher).metrics
    if known is None or known["top1"] >= metrics["top1"]:
        return ()
    warning = (
        f"the teacher is weaker than its student: top-1 {known['top1']:.1f} of "
        f"{Path(teacher).name} against {metrics['top1']:.1f}; distillation may have held it back"
    )
    tell(f"{name}: {warning}")
    return (warning,)


def _export(
    classifier: Any,
    artifact: Path,
    plan: TrainingPlan,
    prepared: PreparedBenchmark,
    name: str,
    *,
    seed: int,
    classes: tuple[str, ...],
    val: ImageNetIndex,
    metrics: dict[str, Any],
    cost: dict[str, float],
    notes: tuple[str, ...],
) -> None:
    from backbones.artifact import save_artifact, verify_artifact
    from backbones.cost import count_gmacs, count_parameters
    from classification.training import example_images, exported, preprocessing_of

    shrunk_to = prepared.benchmark.require_pretraining().shrink_to
    backbone, head = exported(classifier)
    save_artifact(
        artifact,
        backbone,
        {
            "weights": "trained",
            "recipe": {"name": name, **plan.recipe.to_dict()},
            "preprocessing": preprocessing_of(plan.recipe),
            "metrics": {key: metrics[key] for key in ("top1", "top5", "n")},
            "dataset": {
                "name": prepared.benchmark.name,
                "digest": prepared.digests["pretraining"],
                **({"shrink_to": shrunk_to} if shrunk_to else {}),
                "train_size": plan.train_size,
                "eval_size": plan.eval_size,
                "resize_size": plan.resize_size,
            },
            "seed": seed,
            "classes": classes,
            "cost": {
                **{key: cost[key] for key in ("seconds", "teacher_seconds") if key in cost},
                "parameters": count_parameters(backbone),
                "gmacs": count_gmacs(
                    backbone, backbone.native_size, channels=backbone.input_channels
                ),
                "gmacs_image_size": backbone.native_size,
            },
            "notes": {"remarks": list(notes)} if notes else {},
        },
        head=head,
    )
    images = example_images(val.samples, plan, preprocessing_of(plan.recipe))
    verify_artifact(artifact, backbone, images)


def main(argv: list[str] | None = None) -> None:
    """Raises ValueError for a mistake of the user's."""
    arguments = _arguments(argv)
    if arguments.recipes is not None:
        load_user_file(arguments.recipes)
    parse_backbone(arguments.backbone)
    prepared = ensure_ready_everywhere(
        arguments.benchmark, warn=arguments.artifact is None, tolerate=arguments.tolerate
    )
    if arguments.artifact is None:
        out = arguments.out or Path("runs") / prepared.benchmark.name
        artifact = pretrain_with_teachers(
            arguments.backbone,
            prepared,
            seed=arguments.seed,
            out=out,
            auto_accumulate=arguments.auto_accumulate,
        )
        if is_main():
            print(f"artifact: {artifact}")
        return
    # Before the training, so that nothing is lost to a folder that cannot be made.
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    pretrain(
        arguments.backbone,
        prepared,
        seed=arguments.seed,
        artifact=arguments.artifact,
        work_dir=arguments.work_dir,
        result=arguments.result,
        teacher=arguments.teacher,
        auto_accumulate=arguments.auto_accumulate,
    )


def pretrain_with_teachers(
    name: str, prepared: PreparedBenchmark, *, seed: int, out: Path, auto_accumulate: bool = False
) -> Path:
    """The artifact of a backbone under OUT/artifacts; what is missing is trained, teacher first."""
    identity = trained_identity(name, prepared.benchmark, prepared.digests, seed)
    artifact = out / "artifacts" / artifact_name(name, identity)
    if artifact.is_dir():
        return artifact
    teacher = None
    if (source := teacher_of(name)) is not None:
        teacher = source.text
        if source.kind == "trained":
            teacher = str(
                pretrain_with_teachers(
                    source.text,
                    prepared,
                    seed=TEACHER_SEED,
                    out=out,
                    auto_accumulate=auto_accumulate,
                )
            )
    work_dir = out / "work" / artifact.name
    result = pretrain(
        name,
        prepared,
        seed=seed,
        artifact=artifact,
        work_dir=work_dir,
        result=work_dir / "result.json",
        teacher=teacher,
        auto_accumulate=auto_accumulate,
    )
    if result.status == "diverged":
        raise ValueError(f"{name}, seed {seed}, diverged; the log lies in {work_dir}")
    if is_main():
        top1, top5 = result.metrics["top1"], result.metrics["top5"]
        shown = f"top1 {top1.value:.1f}, top5 {top5.value:.1f} on {top1.n} images"
        print(f"{name}, seed {seed}: {shown}")
    return artifact


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--backbone", required=True, help="<architecture>_<recipe>, e.g. resnet50d_mixup")
    add("--benchmark", default="mini", help="mini, paper or a TOML file")
    add("--tolerate", default=0, type=int, metavar="N", help="unusable files that are left out")
    add("--auto-accumulate", action="store_true", help="what memory does not hold, in parts")
    add("--seed", default=0, type=int)
    add("--recipes", type=Path, metavar="FILE.py", help="recipes and tricks of your own")
    add("--out", type=Path, help="default: runs/<benchmark>")
    job = parser.add_argument_group("as one job of a plan", "all but --teacher, or none")
    job.add_argument("--artifact", type=Path, help="directory to write")
    job.add_argument("--work-dir", type=Path, help="checkpoints, log and TensorBoard events")
    job.add_argument("--result", type=Path, help="JSON file to write")
    job.add_argument("--teacher", help="artifact of the recipe's teacher, or timm:<model>[@FILE]")
    arguments = parser.parse_args(argv)
    paths = (arguments.artifact, arguments.work_dir, arguments.result)
    if None in paths and any(paths):
        parser.error("--artifact, --work-dir and --result go together")
    return arguments


if __name__ == "__main__":
    sys.exit(run_stage(main))
