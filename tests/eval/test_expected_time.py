"""How long a plan may take: hand-computed from a few records; what is not known is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pytest
from PIL import Image

from benchmarks.schema import Benchmark, FineTuneBudget
from classification.protocol import pretraining_protocol
from classification.recipes import FINE_TUNING, RECIPES
from classification.tricks import FastAutoAugment
from eval import expected_time
from eval.expected_time import (
    BESIDE,
    BY_GMACS,
    MEASURED,
    SCALED,
    START_SECONDS,
    Estimate,
    Forecast,
    expected_times,
    makespan,
    pretraining_work,
)
from eval.jobs import Job
from eval.plan import Plan, make_plan
from eval.records import Record, Records, write_record
from eval.specs import parse_specs

Ask = Callable[..., Plan]
START = 12.0
"""Seconds that each recorded process took beside its computing."""


class Stages(Protocol):
    def run(self, *arguments: str, **behavior: str) -> tuple[int, str, str]: ...


@pytest.fixture
def ask(benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path) -> Ask:
    def make(*names: str, records: Records | None = None, seeds: tuple[int, ...] = (0,)) -> Plan:
        return make_plan(
            parse_specs(names),
            benchmark_mini,
            ("detection", "segmentation"),
            seeds,
            tmp_path / "out",
            records=records or Records(by_key={}),
            digests=digests,
        )

    return make


def record_of(job: Job, seconds: float, **cost: float) -> Record:
    """What a job would have left that took so long, from its process's start to its end."""
    metric = {"value": 30.0, "n": 100}
    return Record.model_validate(
        {
            "key": job.key,
            "lineage": job.lineage,
            "backbone": job.spec.name,
            "control": None if job.spec.is_control else job.spec.control.name,
            "tricks": job.spec.tricks,
            "task": job.kind,
            "benchmark": "mini",
            "protocol": job.protocol,
            "seed": job.seed,
            "status": "ok",
            "metrics": {"top1": metric},
            "cost": {"seconds": seconds - START, "process_seconds": seconds, **cost},
        }
    )


def job_of(plan: Plan, kind: str, name: str) -> Job:
    return next(job for job in plan.jobs if (job.kind, job.spec.name) == (kind, name))


def of_row(plan: Plan, name: str, seconds: dict[str, float]) -> Records:
    """The records of one row: 5 passes over 10,000 images in batches of 64 for resnet50d_mixup."""
    records = []
    for kind, value in seconds.items():
        cost = {"iterations": 781.25} if kind == "classification" else {}
        job = job_of(plan, kind, name)
        records.append(record_of(job, value, backbone_gmacs=0.27245568, **cost))
    return Records(by_key={record.key: record for record in records})


def forecast_of(plan: Plan, records: Records, mini: Benchmark, out: Path, **how: Any) -> Forecast:
    return expected_times(plan, mini, records, out / "out", **{"slots": 1, "gpu": False, **how})


def test_the_same_job_with_another_seed_takes_as_long(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    first = ask("resnet50d_mixup")
    times = {"classification": 230.0, "detection": 80.0, "segmentation": 60.0}
    records = of_row(first, "resnet50d_mixup", times)
    plan = ask("resnet50d_mixup", seeds=(0, 1), records=records)
    forecast = forecast_of(plan, records, benchmark_mini, tmp_path)
    for kind, seconds in times.items():
        (job,) = [j for j in plan.todo if (j.kind, j.spec.name) == (kind, "resnet50d_mixup")]
        assert forecast.by_job[job.id] == Estimate(seconds=seconds, basis=MEASURED)
    # And two controls of random weights, whose protocols are the same: the fine-tunings of both.
    assert forecast.seconds == pytest.approx(230 + 80 + 60 + 2 * (START + 80 + 60))


def test_another_recipe_is_scaled_by_its_steps(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    records = of_row(ask("resnet50d_mixup"), "resnet50d_mixup", {"classification": 230.0})
    plan = ask("resnet50d_smooth")
    job = job_of(plan, "classification", "resnet50d_smooth")
    estimate = forecast_of(plan, records, benchmark_mini, tmp_path).by_job[job.id]
    # 120 epochs in place of 200, in the same precision; the start of the process stays.
    assert estimate.seconds == pytest.approx((230 - START) * 120 / 200 + START)
    assert estimate.basis == SCALED


def test_float32_small_batches_and_teachers_cost_more(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    records = of_row(ask("resnet50d_mixup"), "resnet50d_mixup", {"classification": 230.0})
    plan = ask("resnet50d_standard", "resnet50d_mixup_distill")
    by_job = forecast_of(plan, records, benchmark_mini, tmp_path).by_job
    student, teacher, pixels = 0.27245568, 0.736483328, (64 / 224) ** 2
    unit = (230 - START) / (50_000 * (student * pixels + 0.3 / 64))
    standard = 30_000 * (1.95 * student * pixels + 0.3 / 16) * unit
    taught = 50_000 * ((student + 0.2 * teacher) * pixels + 0.3 / 64) * unit
    bigger = 50_000 * (teacher * pixels + 0.3 / 64) * unit
    for name, seconds in (
        ("resnet50d_standard", standard),
        ("resnet50d_mixup_distill", taught),
        ("resnet152d_mixup", bigger),
    ):
        job = job_of(plan, "classification", name)
        assert by_job[job.id].seconds == pytest.approx(seconds + START)


@pytest.mark.parametrize(
    ("known", "took"),
    [
        (
            "resnet50d_efficient",
            {
                "resnet50d_efficient": 128.2,
                "resnet50d_cosine": 127.6,
                "resnet50d_smooth": 116.2,
                "resnet50d_standard": 283.3,
            },
        ),
        (  # on another day, with other work on the machine
            "resnet50d_distill",
            {
                "resnet50d_distill": 472.6,
                "resnet50d_mixup_distill": 638.5,
                "resnet152d_smooth": 869.9,
                "resnet152d_mixup": 1362.9,
            },
        ),
    ],
)
def test_one_row_of_mini_foretells_the_others_within_a_quarter(
    known: str, took: dict[str, float], benchmark_mini: Benchmark
) -> None:
    """took: seconds of pretrainings on mini as they were measured, for docs/results.md."""
    gmacs = {"resnet50d": 0.27245568, "resnet152d": 0.736483328}
    work = {}
    for name in took:
        architecture, recipe = name.split("_", 1)
        protocol = pretraining_protocol(architecture, RECIPES[recipe], benchmark_mini, "d")
        work[name] = pretraining_work(protocol, 10_000, gmacs[architecture], gmacs.get)
    for name, seconds in took.items():
        expected = took[known] * work[name] / work[known]
        assert expected == pytest.approx(seconds, rel=0.25), name


@pytest.fixture
def own(benchmark_mini: Benchmark, tmp_path: Path) -> Benchmark:
    """With 125 images of one's own, of which a fifth is held out, and one without a label."""
    for folder in ("train/cat", "train/dog", "others"):
        (tmp_path / "own" / folder).mkdir(parents=True)
    for number in range(125):
        (tmp_path / "own" / "train" / ("cat", "dog")[number % 2] / f"{number}.png").touch()
    Image.new("RGB", (2, 2)).save(tmp_path / "own" / "others" / "0.png")
    budget = FineTuneBudget(
        root=tmp_path / "own",
        unlabelled=tmp_path / "own" / "others",
        image_size=64,
        resize_size=72,
        epoch_scale=0.5,
    )
    return benchmark_mini.model_copy(update={"finetune": budget})


def tuned(mini: Benchmark, out: Path, *names: str) -> Plan:
    """Of ten passes."""
    digests = dict.fromkeys(("pretraining", "detection", "segmentation", "finetune"), "d" * 64)
    return make_plan(
        parse_specs(names),
        mini,
        ("finetune",),
        (0,),
        out / "out",
        records=Records(by_key={}),
        digests=digests,
        controls=False,
    )


def test_rounds_of_pseudo_labels_are_trainings_too(
    benchmark_mini: Benchmark, own: Benchmark, tmp_path: Path
) -> None:
    names = ("scratch:resnet50d~plain", "scratch:resnet50d~plain+pseudo_labels")
    plan = tuned(own, tmp_path, *names)
    plain, pseudo = (job_of(plan, "finetune", name) for name in names)
    cost = {"iterations": 100 / 32 * 10, "backbone_gmacs": 0.27245568}
    record = record_of(plain, 40.0, **cost)
    known = Records(by_key={record.key: record})
    found = forecast_of(plan, known, benchmark_mini, tmp_path).by_job[pseudo.id]
    # Round 0 as long as `plain`, round 1 twice: half of each of its batches is pseudo-labelled.
    assert found == Estimate(seconds=pytest.approx((40 - START) * 3 + START), basis=SCALED)
    # The other way round: the steps of all its rounds say how many images there are.
    record = record_of(pseudo, 100.0, **{**cost, "iterations": 3 * cost["iterations"]})
    known = Records(by_key={record.key: record})
    found = forecast_of(plan, known, benchmark_mini, tmp_path).by_job[plain.id]
    assert found == Estimate(seconds=pytest.approx((100 - START) / 3 + START), basis=SCALED)


def test_a_head_alone_is_a_forward_pass_and_small_steps(own: Benchmark, tmp_path: Path) -> None:
    kinds = ("plain", "linear", "linear-plain_views")
    names = tuple(f"scratch:resnet50d~{kind}" for kind in kinds)
    plan = tuned(own, tmp_path, *names)
    plain, linear, drawn = (
        pretraining_work(job_of(plan, "finetune", name).protocol, 100.0, 0.25, lambda _: None)
        for name in names
    )
    assert own.finetune is not None
    image = 0.25 * 1.95 * (own.finetune.image_size / 224) ** 2
    assert plain == pytest.approx(10 * 100 * (image + 0.3 / 32))
    assert linear == pytest.approx(100 * (image / 3 + 10 * 0.085 / 32))
    assert drawn == pytest.approx(100 * 10 * (image / 3 + 0.085 / 32))


def test_a_policy_search_is_a_forward_pass_for_each_trial(
    own: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = FINE_TUNING.recipes["plain"] | FastAutoAugment("search", trials=60)
    monkeypatch.setitem(FINE_TUNING.recipes, "searched", searched)
    names = ("scratch:resnet50d~plain", "scratch:resnet50d~searched")
    plan = tuned(own, tmp_path, *names)
    assert own.finetune is not None
    image = 0.25 * 1.95 * (own.finetune.image_size / 224) ** 2
    for images, looked_at in ((100.0, 100), (5000.0, 2000)):
        plain, with_search = (
            pretraining_work(job_of(plan, "finetune", name).protocol, images, 0.25, lambda _: None)
            for name in names
        )
        assert plain is not None
        assert with_search == pytest.approx(plain + 61 * looked_at * image / 3)


def test_rounds_that_were_not_trained_do_not_make_the_images_fewer(
    own: Benchmark, tmp_path: Path
) -> None:
    names = ("scratch:resnet50d~plain", "scratch:resnet50d~plain+pseudo_labels")
    plan = tuned(own, tmp_path, *names)
    plain, pseudo = (job_of(plan, "finetune", name) for name in names)
    # No image was sure enough for round 1: all the seconds are of what `plain` does.
    record = record_of(pseudo, 40.0, iterations=100 / 32 * 10, backbone_gmacs=0.27245568)
    known = Records(by_key={record.key: record})
    found = forecast_of(plan, known, own, tmp_path).by_job[plain.id]
    assert found == Estimate(seconds=pytest.approx(40.0), basis=SCALED)


def test_another_architecture_is_scaled_by_gmacs(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expected_time, "_counted", lambda *_: 2 * 0.27245568)
    records = of_row(ask("resnet50d_mixup"), "resnet50d_mixup", {"detection": 80.0})
    plan = ask("mobilenet_mixup")
    job = job_of(plan, "detection", "mobilenet_mixup")
    estimate = forecast_of(plan, records, benchmark_mini, tmp_path).by_job[job.id]
    # Twice the backbone, and heads that cost as much as the smaller backbone: (2 + 1) / (1 + 1).
    assert estimate.seconds == pytest.approx((80 - START) * 1.5 + START)
    assert estimate.basis == BY_GMACS


def test_folders_beside_are_asked_where_this_one_knows_nothing(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    plan = ask("resnet50d_mixup")
    beside = of_row(plan, "resnet50d_mixup", {"detection": 300.0})
    for record in beside.by_key.values():
        write_record(tmp_path / "elsewhere" / "records", record)
    job = job_of(plan, "detection", "resnet50d_mixup")
    none = Records(by_key={})
    found = forecast_of(plan, none, benchmark_mini, tmp_path).by_job[job.id]
    assert found == Estimate(seconds=300.0, basis=MEASURED + BESIDE)
    own = of_row(plan, "resnet50d_mixup", {"detection": 80.0})
    found = forecast_of(plan, own, benchmark_mini, tmp_path).by_job[job.id]
    assert found == Estimate(seconds=80.0, basis=MEASURED)


def test_without_any_record_minis_own_times_stand_in(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    plan = ask("resnet50d_mixup")
    forecast = forecast_of(plan, Records(by_key={}), benchmark_mini, tmp_path)
    job = job_of(plan, "classification", "resnet50d_mixup")
    # The very job that the rule was measured on.
    assert forecast.by_job[job.id].seconds == pytest.approx(227 + START_SECONDS)
    assert "a rule measured on mini" in forecast.by_job[job.id].basis
    assert forecast.unknown == 0


def test_what_nothing_is_known_of_is_unknown(
    ask: Ask, benchmark_mini: Benchmark, tmp_path: Path
) -> None:
    plan = ask("resnet50d_mixup")
    forecast = forecast_of(plan, Records(by_key={}), benchmark_mini, tmp_path, gpu=True)
    assert forecast.unknown == len(plan.jobs) - 1  # drawing random weights trains nothing
    assert forecast.seconds == START_SECONDS


def test_odd_records_teach_nothing_and_break_nothing(
    ask: Ask,
    benchmark_mini: Benchmark,
    tmp_path: Path,
    make_record: Callable[..., Record],
) -> None:
    odd = [
        make_record(task="detection", protocol={"budget": "none"}, cost={"seconds": 7.0}),
        make_record(task="segmentation", protocol={}, cost={"seconds": 7.0}),
        make_record(task="classification", protocol={"recipe": {}}, cost={"seconds": 7.0}),
        make_record(task="classification", protocol={"recipe": 3}, cost={"seconds": 0.0}),
        make_record("timm:x", task="detection", control=None, cost={"seconds": 7.0}),
    ]
    records = Records(by_key={record.key: record for record in odd})
    plan = ask("resnet50d_mixup")
    forecast = forecast_of(plan, records, benchmark_mini, tmp_path)
    assert {estimate.basis for estimate in forecast.by_job.values()} == {
        expected_time.RULE,
        expected_time.START,
    }


@pytest.mark.parametrize(("slots", "seconds"), [(1, 28.0), (2, 15.0), (3, 13.0)])
def test_the_whole_takes_as_long_as_its_slots_allow(slots: int, seconds: float) -> None:
    # By hand. Two slots: a 0-5, b 5-10, e 10-15 in one; c 0-8, d 8-13 in the other. With a third
    # slot for e, d is the last to end. f is not known and counts nothing.
    needs = {"a": (), "b": ("a",), "c": (), "d": ("c",), "e": (), "f": ("e",)}
    jobs: Any = [SimpleNamespace(id=n, needs=of, runs_alone=False) for n, of in needs.items()]
    times = {"a": 5.0, "b": 5.0, "c": 8.0, "d": 5.0, "e": 5.0, "f": None}
    by_job = {name: Estimate(seconds=value, basis="") for name, value in times.items()}
    assert makespan(jobs, by_job, slots) == seconds


def test_the_dry_run_says_it_all(stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_time, "default_slots", lambda: 2)
    monkeypatch.setattr(expected_time, "on_gpu", lambda: False)
    code, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "pretraining   resnet50d_mixup" in line]
    assert line.endswith("3m57s")  # 227 s and 10 s for the process
    # 237 + 85 + 71 for the row and 10 + 85 + 71 for the control, one after the other.
    total = [line for line in out.splitlines() if line.startswith("Expected time: ")]
    assert total == ["Expected time: 5m22s, with 2 jobs at once (9m19s one after the other)"]
    assert "5 jobs: a rule measured on mini" in out
    monkeypatch.setitem(expected_time._MINI_SECONDS, "detection", 7 * 365.25 * 24 * 3600)
    _, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert "Expected time: not feasible on this machine (about 7 years)" in out
    monkeypatch.setattr(expected_time, "on_gpu", lambda: True)
    _, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert out.count("unknown\n") == 5
    assert "Expected time: at least 10s" in out
    assert "5 of the jobs not counted" in out
