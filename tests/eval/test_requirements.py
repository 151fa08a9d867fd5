"""What a dry run says that a plan needs, beside what others have measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.errors import DataError
from benchmarks.missing_data import missing_data
from benchmarks.prepare import ensure_ready
from benchmarks.schema import FineTuneBudget, load_benchmark
from classification.recipe import Recipe
from classification.recipes import RECIPES
from classification.tricks import Distillation
from eval import requirements
from eval.expected_time import UNKNOWN, Estimate, Forecast
from eval.findings import amount
from eval.gpu_hours import FoundGpus, found_gpus, gpu_hours
from eval.gpu_rates import GPUS
from eval.jobs import Job
from eval.needed_memory import step_need
from eval.plan import Plan, make_plan
from eval.records import Records
from eval.requirements import needs_in_words
from eval.specs import parse_specs

ROOT = Path(__file__).parents[2]
PAPER = load_benchmark("paper")
Stages = Any


def plan_of(benchmark: str, name: str) -> Plan:
    loaded = load_benchmark(benchmark)
    tasks: Any = [t for t in ("detection", "segmentation") if getattr(loaded, t) is not None]
    none = Records(by_key={})
    return make_plan(parse_specs([name]), loaded, tasks, [0], Path("/out"), records=none)


def job_of(benchmark: str, name: str, kind: str) -> Job:
    jobs = plan_of(benchmark, name).jobs
    return next(job for job in jobs if (job.kind, job.spec.name) == (kind, name))


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("resnet50a_efficient", 4.4),
        ("inception_v3_efficient", 8.0),
        ("mobilenet_efficient", 3.7),
        ("resnet50a_ladder256_linear_scaling", 13.3),
    ],
)
def test_a_v100_takes_what_the_paper_measured(name: str, minutes: float) -> None:
    """He et al. 2019, Table 3: minutes an epoch on 8 of them; 120 epochs."""
    found = gpu_hours(job_of("paper", name, "classification"), load_benchmark("paper"), GPUS[0])
    assert found == pytest.approx(120 * minutes * 8 / 60, rel=0.01)


@pytest.mark.parametrize(
    ("benchmark", "kind", "images", "gigabytes"),
    [
        # "Training Memory (GB)" of one GPU in upstream's metafiles: fcn_r50-d8 on ADE20K and on
        # Cityscapes, faster-rcnn_r50_fpn_1x_coco, the latter with its first stage frozen.
        ("paper", "segmentation", 4, 8.5),
        ("cityscapes", "segmentation", 2, 5.7),
        ("coco", "detection", 2, 4.0),
    ],
)
def test_memory_is_about_what_upstream_measured(
    benchmark: str, kind: str, images: int, gigabytes: float
) -> None:
    need = step_need(job_of(benchmark, "resnet50d_mixup", kind), load_benchmark(benchmark))
    assert need is not None
    assert (need.fixed + images * need.image) / 1e9 == pytest.approx(gigabytes, rel=0.3)


def test_parameters_are_those_of_the_models() -> None:
    """As counted on them: detectors and segmentors on resnet50d."""
    for kind, counted in (("detection", 41_464_788), ("segmentation", 49_598_604)):
        need = step_need(job_of("paper", "resnet50d_mixup", kind), PAPER)
        assert need is not None
        assert need.parameters == pytest.approx(counted, rel=0.01)
    # A checkpoint of mini's detector has 21.07 MB: weights and momentum.
    need = step_need(job_of("mini", "resnet50d_mixup", "detection"), load_benchmark("mini"))
    assert need is not None
    assert 8 * need.parameters == pytest.approx(21.07e6, rel=0.02)


def test_half_precision_parts_and_teachers_change_the_memory() -> None:
    def need(name: str) -> Any:
        return step_need(job_of("paper", name, "classification"), PAPER)

    half, single = need("resnet50d_efficient"), need("resnet50d_standard")
    assert (half.images, single.images) == (1024, 256)
    assert single.image == pytest.approx(2 * half.image, rel=1e-6)
    taught = need("resnet50d_distill")
    assert taught.fixed - need("resnet50d_smooth").fixed == 4 * 58_163_040  # resnet152d
    assert step_need(job_of("paper", "timm:resnet18", "detection"), PAPER) is None


def test_a_fine_tuning_counts_its_classifiers_and_the_checkpoints_of_those_at_work(
    tmp_path: Path,
) -> None:
    """Of resnet50d a quarter wide: its weights have 5.65 MiB, a checkpoint by SGD was measured to
    have 11.5, which are weights and momentum."""
    weights = 5_922_400
    budget = FineTuneBudget(root=tmp_path, validation="kfold", folds=5, labelled_per_class=1)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    mini = load_benchmark("mini").model_copy(update={"finetune": budget})

    def said(recipe: str, seeds: list[int], slots: int) -> str:
        specs, none = parse_specs([f"scratch:resnet50d~{recipe}"]), Records(by_key={})
        plan = make_plan(
            specs, mini, ["finetune"], seeds, Path("/out"), records=none, controls=False
        )
        by_job = {job.id: Estimate(seconds=None, basis=UNKNOWN) for job in plan.todo}
        forecast = Forecast(by_job=by_job, seconds=1.0, slots=slots)
        lines = needs_in_words(plan, mini, forecast, Path("/out"), FoundGpus(models=(), known=None))
        assert any(line.startswith("  memory, finetune: ") for line in lines)
        return next(line for line in lines if "disk, below" in line)

    # A checkpoint of AdamW has the weights, its two moments and the best weights.
    one = said("finetune", [0, 1], 1)
    assert f"(checkpoints {amount(2 * 4 * weights)}, " in one
    assert f"artifacts {amount(2 * (1 + 5) * weights)}; " in one  # what folds start from, and they
    assert f"(checkpoints {amount(2 * 2 * 4 * weights)}, " in said("finetune", [0, 1, 2], 2)
    # Two rounds of each fold, and the copy of the last one's that is the fold's.
    pseudo = said("finetune+pseudo_labels", [0], 1)
    assert f"artifacts {amount((1 + 5 * 3) * weights)}; " in pseudo


def test_a_teacher_of_others_has_no_hours_and_no_memory_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RECIPES, "plain", Recipe())
    plain = step_need(job_of("paper", "resnet18d_plain", "classification"), PAPER)
    monkeypatch.setitem(RECIPES, "taught", Recipe() | Distillation("timm:test_resnet"))
    taught = job_of("paper", "resnet18d_taught", "classification")
    assert step_need(taught, PAPER) == plain
    assert gpu_hours(taught, PAPER, GPUS[0]) is None


def test_torchvisions_resnet_needs_what_ours_does_at_full_width() -> None:
    """mini's own networks have a quarter of the width."""
    mini = load_benchmark("mini")
    full = mini.model_copy(update={"backbone": mini.backbone.model_copy(update={"width": 1.0})})
    for kind in ("detection", "segmentation"):
        theirs = job_of("mini", "torchvision:resnet18", kind)
        ours = job_of("mini", "scratch:resnet18b", kind)
        assert step_need(theirs, mini) == step_need(ours, full)
        assert gpu_hours(theirs, mini, GPUS[0]) == gpu_hours(ours, full, GPUS[0])
        assert gpu_hours(theirs, mini, GPUS[0]) is not None


def test_the_driver_names_the_gpus(tmp_path: Path) -> None:
    assert found_gpus(tmp_path) == FoundGpus(models=(), known=None)
    for place, model in (("0000:01", "NVIDIA H100 80GB HBM3"), ("0000:02", "NVIDIA X")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "information").write_text(f"Model: \t\t {model}\nIRQ:   5\n")
    found = found_gpus(tmp_path)
    assert found.models == ("NVIDIA H100 80GB HBM3", "NVIDIA X")
    assert found.known is not None
    assert found.known.name == "H100"


def hours_said(gpus: FoundGpus, seconds: float | None) -> list[str]:
    plan, basis = plan_of("paper", "resnet50d_mixup"), UNKNOWN if seconds is None else "measured"
    by_job = {job.id: Estimate(seconds=seconds, basis=basis) for job in plan.todo}
    forecast = Forecast(by_job=by_job, seconds=1.0, slots=1)
    lines = needs_in_words(plan, load_benchmark("paper"), forecast, Path("/out"), gpus)
    return [line for line in lines if "GPU-hours" in line]


def test_hours_are_said_of_the_gpu_that_is_there_or_of_an_assumed_one() -> None:
    h100 = FoundGpus(models=("NVIDIA H100 PCIe",), known=GPUS[2])
    (line,) = hours_said(h100, None)
    assert "on one NVIDIA H100 PCIe;" in line
    assert "assumed, not measured" in line
    assert hours_said(h100, 60.0) == [], "what was measured here is not assumed"
    none = FoundGpus(models=(), known=None)
    (line,) = hours_said(none, 1e6)
    assert "on one A100 (this machine has no GPU)" in line
    assert hours_said(none, 60.0) == [], "a minute is no work for a GPU"
    (line,) = hours_said(FoundGpus(models=("NVIDIA X",), known=None), None)
    assert "on one A100 (NVIDIA X is not known)" in line


def test_memory_that_is_not_there_and_architectures_that_are_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(name: str) -> str:
        plan, none = plan_of("paper", name), FoundGpus(models=(), known=None)
        by_job = {job.id: Estimate(seconds=None, basis=UNKNOWN) for job in plan.todo}
        forecast = Forecast(by_job=by_job, seconds=1.0, slots=1)
        benchmark = load_benchmark("paper")
        return "\n".join(needs_in_words(plan, benchmark, forecast, Path("/out"), none))

    monkeypatch.setattr(requirements, "memory_limit", lambda: 2**30)
    assert "DOES NOT FIT THIS MACHINE: " in said("resnet50d_mixup")
    monkeypatch.setattr(requirements, "memory_limit", lambda: None)
    monkeypatch.setattr(requirements, "memory_of_machine", lambda: {"MemAvailable": 2**50})
    assert "DOES NOT FIT" not in said("resnet50d_mixup")
    assert "/out: unknown, of other architectures" in said("timm:resnet18")
    known = said("torchvision:resnet18")
    assert "unknown" not in known
    assert "  memory, detection: " in known


def test_too_little_disk_is_said(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert code == 0
    assert "TOO LITTLE" not in out
    for what in ("disk, below ", "memory, pretraining: ", "memory, detection: ", "host memory "):
        assert f"  {what}" in out
    full = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=2**20))
    monkeypatch.setattr(requirements, "shutil", full)
    _, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert "TOO LITTLE DISK" in out


def test_missing_folders_are_named_with_what_makes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRICKLE_DATA", str(tmp_path))
    (tmp_path / "VOCdevkit").mkdir()
    imagenet, ade = missing_data(load_benchmark("paper"))
    assert imagenet == (
        f"no folder {tmp_path}/imagenet, for pretraining: "
        f"trickle prepare imagenet --from DIR --to {tmp_path}"
    )
    assert f"trickle prepare ade20k --from DIR --to {tmp_path}" in ade
    *_, coco = missing_data(load_benchmark("coco"))
    assert f"no folder {tmp_path}/coco, for detection: it should hold train2017/" in coco
    assert "https://cocodataset.org" in coco
    *_, streets = missing_data(load_benchmark("cityscapes"))
    assert "leftImg8bit_trainvaltest.zip" in streets
    assert "https://www.cityscapes-dataset.com" in streets
    # A run and `validate` end with the same text; all that is missing is in it.
    with pytest.raises(DataError) as caught:
        ensure_ready(load_benchmark("paper"))
    for text in (imagenet, ade, "TRICKLE_DATA=DIR"):
        assert text in str(caught.value)
    assert missing_data(load_benchmark("mini")) == []


def test_a_dry_run_without_data_ends_well_and_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from eval.cli import transfer_main\n"
        "code = transfer_main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    )
    words = ["--backbone", "mobilenet_mixup", "--benchmark", "paper", "--dry-run", "--out", "o"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "TRICKLE_DATA": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr
    assert done.stdout.count("Missing: no folder") == 3
    lines = [line.partition(":")[0] for line in done.stdout.splitlines()]
    assert lines[:3] == ["Missing"] * 3, "before the jobs, of which there may be many"
    assert "TRICKLE_DATA=DIR" in done.stdout
    assert "Until the data is there no job counts as done." in done.stdout
    assert not (tmp_path / "o").exists()


def test_data_is_measured_where_it_can_be(
    make_benchmark: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path))
    monkeypatch.setattr(requirements, "COUNTING_SECONDS", 60.0)
    found = {data.stage: data.size for data in requirements.data_sizes(benchmark)}
    files = [path for path in (tmp_path / "VOCdevkit").rglob("*") if path.is_file()]
    assert found["detection"] == sum(path.stat().st_size for path in files)
    monkeypatch.setattr(requirements, "COUNTING_SECONDS", -1.0)
    assert {data.size for data in requirements.data_sizes(benchmark)} == {None}
