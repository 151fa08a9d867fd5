"""Two processes with the same global batch do what one does."""

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


PROBABILITIES = {"ece", "nll"}  # their last bits follow from how the images are batched


def counted(result: StageResult) -> dict[str, Any]:
    return {name: m for name, m in result.metrics.items() if name not in PROBABILITIES}


@pytest.fixture(scope="module")
def stages(make_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_stages(tmp_path_factory.mktemp("two"))


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


@pytest.mark.distributed
@pytest.mark.reliability(
    2, "one and two processes with the same global batch see the same augmented samples each step"
)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_samples(ran: Any, measured: Callable[[str], None], task: str) -> None:
    _, (alone,) = ran(task, 1)
    _, (first, second) = ran(task, 2)
    steps = list(zip(alone["train"], first["train"], second["train"], strict=True))
    assert len(steps) == 12
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
    stages: Any, ran: Any, measured: Callable[[str], None], task: str
) -> None:
    one, (alone,) = ran(task, 1)
    name = f"{task}-validated-by-two"
    shutil.copytree(stages.folder / f"{task}-1" / "work", stages.folder / name / "work")
    two = stages.finish(task, name, processes=2)  # a finished run is only validated
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
def test_the_same_answers_in_the_same_order(stages: Any, ran: Any) -> None:
    one, _ = ran("classification", 1)
    name = "answered-by-two"
    shutil.copytree(stages.folder / "classification-1" / "work", stages.folder / name / "work")
    two = stages.finish("classification", name, processes=2)
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


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.reliability(
    2, "without batch normalization two processes have the losses of one, within float32"
)
def test_the_same_losses_without_batch_normalization(
    stages: Any, measured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "backbone", "timm:test_convnext_standard")
    stages.finish("classification", "plain-1")
    stages.finish("classification", "plain-2", processes=2)
    one, two = stages.seen("plain-1")["losses"], stages.seen("plain-2")["losses"]
    assert len(one) >= 12
    assert two == pytest.approx(one, rel=1e-4)
    worst = max(abs(a - b) / a for a, b in zip(one, two, strict=True))
    measured(f"largest relative difference of {len(one)} losses {worst:.0e}")


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
