"""Two and four processes with the same global batch do what one does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from engine.evidence import FILE_NAME, read_evidence
from engine.results import StageResult

TASKS = [
    "classification",
    pytest.param("detection", marks=pytest.mark.slow),
    pytest.param("segmentation", marks=pytest.mark.slow),
]


RECIPES = """
from classification.recipes.bag_of_tricks import mixup, smooth
from classification.tricks.gradient_accumulation import GradientAccumulation
from classification.tricks.half_precision import HalfPrecision

RECIPES = {
    "mixed": mixup - HalfPrecision,
    "accumulated": mixup - HalfPrecision | GradientAccumulation(2),
    "unmixed": smooth - HalfPrecision,
}
"""

STEPS = {"classification": 12, "detection": 6, "segmentation": 12}

PROBABILITIES = {"ece", "nll"}  # their last bits follow from how the images are batched


def counted(result: StageResult) -> dict[str, Any]:
    return {name: m for name, m in result.metrics.items() if name not in PROBABILITIES}


@pytest.fixture(scope="module")
def stages(make_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """In float32 and with small steps: batch normalization over a few values blows rounding up
    tenfold in a step, and one process whose images are 1e-6 off ends elsewhere too. So does a
    detection of more steps, where rounding chooses between two proposals of one score."""
    made = make_stages(
        tmp_path_factory.mktemp("two"),
        pretraining={"batch_norm": "global", "learning_rate_scale": 0.001},
        detection={"batch_size": 4, "iterations": STEPS["detection"]},
        segmentation={"batch_size": 4},
    )
    made.recipes = made.folder / "recipes.py"
    made.recipes.write_text(RECIPES)
    made.backbone = "resnet18d_mixed"
    return made


@pytest.fixture(scope="module")
def ran(stages: Any) -> Callable[[str, int], tuple[Any, list[dict[str, Any]]]]:
    """ran(task, processes) -> the result of a run, and what each process saw; each run once."""
    done: dict[tuple[str, int], Any] = {}

    def get(task: str, processes: int) -> Any:
        if (task, processes) not in done:
            name = f"{task}-{processes}"
            result = stages.finish(task, name, processes=processes)
            done[task, processes] = result, [stages.seen(name, r) for r in range(processes)]
        return done[task, processes]

    return get


@pytest.fixture(scope="module")
def validated(stages: Any, ran: Any) -> Callable[[str], tuple[StageResult, str]]:
    """validated(task) -> the result of two processes that only validate what one has trained, and
    the name of their run; each run once."""
    done: dict[str, tuple[StageResult, str]] = {}

    def get(task: str) -> tuple[StageResult, str]:
        if task not in done:
            ran(task, 1)
            name = f"{task}-validated-by-two"
            shutil.copytree(stages.folder / f"{task}-1" / "work", stages.folder / name / "work")
            done[task] = stages.finish(task, name, processes=2), name
        return done[task]

    return get


@pytest.mark.distributed
@pytest.mark.reliability(
    2, "one and two processes with the same global batch see the same augmented samples each step"
)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_samples(ran: Any, measured: Callable[[str], None], task: str) -> None:
    _, (alone,) = ran(task, 1)
    _, (first, second) = ran(task, 2)
    steps = list(zip(alone["train"], first["train"], second["train"], strict=True))
    assert len(steps) == STEPS[task]
    for whole, one, other in steps:
        assert len(one) == len(other) == len(whole) // 2
        assert sorted(one + other) == sorted(whole)
    samples = {digest for whole, *_ in steps for digest in whole}
    assert len(samples) > 0.6 * sum(len(whole) for whole, *_ in steps), "augmented anew"
    measured(f"{task}: the samples of {len(steps)} steps, 0 differ")


@pytest.mark.distributed
@pytest.mark.reliability(
    2,
    "two processes validate each image once, to the numbers of one process: exactly where they are "
    "counted, within float32 where they are made of probabilities",
)
@pytest.mark.parametrize("task", TASKS)
def test_each_validation_image_once(
    stages: Any, ran: Any, validated: Any, measured: Callable[[str], None], task: str
) -> None:
    one, (alone,) = ran(task, 1)
    two, name = validated(task)
    shares = [stages.seen(name, rank) for rank in range(2)]
    assert [share["train"] for share in shares] == [[], []]
    assert sorted(shares[0]["val"] + shares[1]["val"]) == sorted(alone["val"])
    assert len(set(alone["val"])) == len(alone["val"])
    assert abs(len(shares[0]["val"]) - len(shares[1]["val"])) <= 1
    assert (counted(two), two.per_class) == (counted(one), one.per_class)
    for metric in PROBABILITIES & one.metrics.keys():
        assert two.metrics[metric].value == pytest.approx(one.metrics[metric].value, rel=1e-4)
    assert next(iter(two.metrics.values())).n == len(alone["val"])
    measured(f"{task}: {len(alone['val'])} images, {len(one.metrics)} metrics equal")


@pytest.mark.distributed
def test_the_same_answers_in_the_same_order(stages: Any, ran: Any, validated: Any) -> None:
    one, _ = ran("classification", 1)
    two, name = validated("classification")
    alone, shared = (
        read_evidence(stages.folder / run / FILE_NAME, sha256=result.evidence_sha256)
        for run, result in (("classification-1", one), (name, two))
    )
    assert alone.images == shared.images
    assert len(alone.images) == 9
    assert set(alone.arrays["label"].tolist()) == {0, 1, 2}, "so that another order would show"
    assert alone.pictures == shared.pictures
    for key in ("label", "prediction", "label_rank"):
        assert alone.arrays[key].tolist() == shared.arrays[key].tolist()
    for key in ("confidence", "label_confidence"):
        assert shared.arrays[key] == pytest.approx(alone.arrays[key], rel=1e-4)
        assert len(set(alone.arrays[key].tolist())) == 9


@pytest.mark.distributed
@pytest.mark.reliability(
    2, "two and four processes have the losses and the metrics of one, within float32"
)
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", TASKS)
def test_the_same_losses(
    ran: Any, measured: Callable[[str], None], task: str, processes: int
) -> None:
    """Pretraining mixes images of two processes (mixup), detection draws proposals and
    segmentation drops channels, all learn batch norms, and the images differ in size."""
    one, (alone,) = ran(task, 1)
    several, seen = ran(task, processes)
    losses = alone["losses"]
    assert len(losses) == STEPS[task]
    for share in seen:  # each sees the mean
        assert share["losses"] == pytest.approx(losses, rel=1e-4)
    assert several.protocol["batch_norm"] == "global"
    assert several.metrics.keys() == one.metrics.keys()
    for name, metric in one.metrics.items():
        assert several.metrics[name].n == metric.n
        assert several.metrics[name].value == pytest.approx(metric.value, rel=1e-3), name
    worst = max(abs(a - b) / a for a, b in zip(losses, seen[0]["losses"], strict=True))
    measured(
        f"{task}, {processes}: largest relative difference of {len(losses)} losses {worst:.0e}"
    )


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_parts_of_shares(stages: Any, task: str) -> None:
    """One process and two divide the same batch into the same two parts; with two, memory runs
    out in the second alone."""
    images = {"classification": 8, "segmentation": 4}[task]
    stages.backbone, before = "resnet18d_unmixed", stages.backbone
    runs = {1: [images // 2], 2: [None, images // 4]}
    losses = []
    for processes, holds in runs.items():
        name = f"{task}-parts-{processes}"
        options = dict(processes=processes, holds=holds)
        for process in stages.start(task, name, "--auto-accumulate", **options):
            process.join(120)
            assert process.exitcode == 0, stages.log(name).read_text()
        result = StageResult.read(stages.folder / name / "result.json")
        assert result.protocol["micro_batch"] == images // 2
        losses.append(stages.seen(name)["losses"])
    stages.backbone = before
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.distributed
def test_accumulated_steps(stages: Any) -> None:
    """A recipe's own accumulation."""
    stages.backbone, before = "resnet18d_accumulated", stages.backbone
    for processes in (1, 2):
        stages.finish("classification", f"accumulated-{processes}", processes=processes)
    stages.backbone = before
    one, two = (stages.seen(f"accumulated-{n}")["losses"] for n in (1, 2))
    assert two == pytest.approx(one, rel=1e-4)


@pytest.mark.slow
@pytest.mark.distributed
def test_a_training_goes_on_with_another_number_of_processes(stages: Any, ran: Any) -> None:
    """Where batch normalization sees the batch; else it says why not."""
    whole, (alone,) = ran("segmentation", 1)
    for name, processes in (("to-four", 4), ("to-one", 1)):
        stages.killed_inside("segmentation", name, at=20, processes=2)
        result = stages.finish("segmentation", name, processes=processes)
        losses = stages.seen(name)["losses"]
        assert 0 < len(losses) < 12, "it went on"
        assert losses == pytest.approx(alone["losses"][-len(losses) :], rel=1e-4)
        assert result.metrics["mIoU"].value == pytest.approx(whole.metrics["mIoU"].value, rel=1e-3)


@pytest.mark.distributed
def test_the_first_process_alone_writes_and_speaks(stages: Any, ran: Any) -> None:
    result, _ = ran("classification", 2)
    assert result.protocol["processes"] == 2
    work = stages.folder / "classification-2" / "work"
    assert len(list(work.rglob("*.log"))) == 1
    assert len(list(work.rglob("events.out.tfevents*"))) == 1
    assert stages.log("classification-2", 1).read_text() == ""
    assert "step 12/12" in stages.log("classification-2").read_text()


@pytest.mark.distributed
def test_a_batch_that_cannot_be_shared_is_refused(stages: Any) -> None:
    started = stages.start("classification", "three", processes=3)
    for process in started:
        process.join(60)
    assert {process.exitcode for process in started} == {2}
    assert "a batch of 8 images cannot be shared equally by 3 processes" in (
        stages.log("three").read_text()
    )
