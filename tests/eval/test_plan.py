"""Plans: what is asked beside its control, shared work once, what is done left alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.schema import Benchmark
from eval.execute import LocalExecutor
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan, make_plan
from eval.records import Records, read_records
from eval.specs import parse_specs


class Quiet:
    """A watcher that is told everything and says nothing."""

    def started(self, job: Job, number: int, total: int) -> None: ...

    def ended(self, job: Job, number: int, total: int, **how: object) -> None: ...


class Planner:
    def __init__(self, benchmark: Benchmark, digests: dict[str, str], out: Path) -> None:
        self.benchmark, self.digests, self.out = benchmark, digests, out

    def plan(self, *names: str, seeds: Sequence[int] = (0,), **options: object) -> Plan:
        arguments = {
            "tasks": ("detection", "segmentation"),
            "records": read_records(Layout(self.out).records),
            "digests": self.digests,
            **options,
        }
        tasks = arguments.pop("tasks")
        benchmark = arguments.pop("benchmark", self.benchmark)
        return make_plan(parse_specs(names), benchmark, tasks, seeds, self.out, **arguments)

    def execute(self, plan: Plan) -> None:
        LocalExecutor(Layout(self.out), Quiet(), command="test").execute(plan)


@pytest.fixture
def planner(
    benchmark_mini: Benchmark, digests: dict[str, str], tmp_path: Path, stages: object
) -> Planner:
    return Planner(benchmark_mini, digests, tmp_path / "out")


def kinds(plan: Plan) -> list[tuple[str, str, int]]:
    return [(job.kind, job.spec.name, job.seed) for job in plan.jobs]


def test_one_backbone_makes_six_jobs(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup")
    assert [row.name for row in plan.rows] == ["resnet50d_mixup", "scratch:resnet50d"]
    assert kinds(plan) == [
        ("obtain", "scratch:resnet50d", 0),
        ("classification", "resnet50d_mixup", 0),
        ("detection", "resnet50d_mixup", 0),
        ("segmentation", "resnet50d_mixup", 0),
        ("detection", "scratch:resnet50d", 0),
        ("segmentation", "scratch:resnet50d", 0),
    ]
    assert plan.todo == plan.jobs


def test_everything_comes_after_what_it_needs(planner: Planner) -> None:
    plan = planner.plan("resnet50d_*", "resnet18b_mixup_distill", seeds=(0, 1))
    seen: set[str] = set()
    for job in plan.jobs:
        assert set(job.needs) <= seen
        assert job.id not in seen
        seen.add(job.id)


def test_a_control_is_shared_by_all_backbones_of_its_architecture(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup", "resnet34b_cosine", "resnet50d_cosine")
    assert [row.name for row in plan.rows] == [
        "resnet50d_mixup",
        "resnet50d_cosine",
        "scratch:resnet50d",
        "resnet34b_cosine",
        "scratch:resnet34b",
    ]
    assert sum(job.kind == "obtain" for job in plan.jobs) == 2


def test_a_control_that_is_asked_for_is_one_row(planner: Planner) -> None:
    plan = planner.plan("scratch:resnet50d", "resnet50d_mixup")
    assert [row.name for row in plan.rows] == ["resnet50d_mixup", "scratch:resnet50d"]


def test_a_teacher_is_trained_once_with_seed_0_for_all_students(planner: Planner) -> None:
    plan = planner.plan("resnet50d_distill", "resnet34d_distill", seeds=(0, 1, 2))
    teachers = [job for job in plan.jobs if job.spec.name == "resnet152d_smooth"]
    assert [(job.kind, job.seed) for job in teachers] == [("classification", 0)]
    students = [job for job in plan.jobs if job.spec.recipe == "distill"]
    pretrained = [job for job in students if job.kind == "classification"]
    assert len(pretrained) == 6
    for job in pretrained:
        assert job.needs == (teachers[0].id,)
        assert job.command[job.command.index("--teacher") + 1] == str(teachers[0].artifact)
    assert "resnet152d_smooth" not in [row.name for row in plan.rows]


def test_a_teacher_that_is_also_a_row_is_not_trained_twice(planner: Planner) -> None:
    plan = planner.plan("resnet50d_distill", "resnet152d_smooth")
    jobs = [job for job in plan.jobs if job.spec.name == "resnet152d_smooth"]
    assert [job.kind for job in jobs] == ["classification", "detection", "segmentation"]


def test_each_seed_has_its_own_chain(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup", seeds=(0, 1))
    assert len(plan.jobs) == 12
    assert len({job.artifact for job in plan.jobs}) == 4
    for job in plan.jobs:
        assert job.command[job.command.index("--seed") + 1] == str(job.seed)


def test_imported_weights_are_the_same_for_all_seeds(planner: Planner, tmp_path: Path) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    plan = planner.plan(f"timm:tf_efficientnet_lite0@{file}", seeds=(0, 1))
    imported = [job for job in plan.jobs if job.spec.kind == "timm"]
    assert [job.kind for job in imported].count("obtain") == 1
    assert len({job.key for job in imported if job.key}) == 4
    (obtain,) = [job for job in imported if job.kind == "obtain"]
    assert f"timm:tf_efficientnet_lite0@{file}" in obtain.command
    controls = [job for job in plan.jobs if job.spec.name == "scratch:timm:tf_efficientnet_lite0"]
    assert [job.kind for job in controls].count("obtain") == 2  # random weights differ by seed
    widths = {job.command[job.command.index("--width") + 1] for job in [obtain, controls[0]]}
    assert widths == {"1.0"}


def test_other_bytes_in_a_weights_file_are_another_backbone(
    planner: Planner, tmp_path: Path
) -> None:
    file = tmp_path / "w.pth"
    keys = []
    for content in (b"one", b"two", b"one"):
        file.write_bytes(content)
        plan = planner.plan(f"timm:resnet18@{file}")
        keys.append([job.key for job in plan.jobs if job.spec.kind == "timm"])
    assert keys[0] == keys[2]
    assert not set(keys[0][1:]) & set(keys[1][1:])


def test_a_model_of_the_hub_is_the_commit_that_its_name_means(
    planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    keys = []
    for commit in ("a" * 40, "b" * 40, "a" * 40):
        folder = tmp_path / "models--some--one"
        (folder / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs/main").write_text(commit)
        (folder / "snapshots" / commit / "config.json").write_text(
            '{"architecture": "resnet18", "pretrained_cfg": {}}'
        )
        plan = planner.plan("hf:some/one", seeds=(0, 1))
        hub = [job for job in plan.jobs if job.spec.kind == "hf"]
        (obtain,) = [job for job in hub if job.kind == "obtain"]
        assert f"hf:some/one@{commit}" in obtain.command
        keys.append([job.key for job in hub if job.key])
    assert keys[0] == keys[2]
    assert not set(keys[0]) & set(keys[1])
    assert {job.spec.name for job in plan.jobs} == {"hf:some/one", "scratch:timm:resnet18"}


def test_a_file_of_our_architecture_has_the_width_of_the_benchmark(
    planner: Planner, tmp_path: Path
) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    plan = planner.plan(f"resnet50d@{file}")
    widths = {
        job.command[job.command.index("--width") + 1] for job in plan.jobs if job.kind == "obtain"
    }
    assert [job.spec.kind for job in plan.jobs if job.kind == "obtain"] == ["file", "scratch"]
    assert widths == {str(planner.benchmark.backbone.width)}


def test_what_moves_the_number_moves_the_key_and_nothing_else_does(
    planner: Planner, benchmark_mini: Benchmark
) -> None:
    def keys(**options: object) -> dict[tuple[str, str], str | None]:
        plan = planner.plan("resnet50d_mixup", **options)
        return {(job.kind, job.spec.name): job.key for job in plan.jobs if job.key}

    before = keys()
    assert keys() == before
    assert benchmark_mini.detection is not None
    workers = benchmark_mini.detection.model_copy(update={"workers": 7, "root": Path("/elsewhere")})
    assert keys(benchmark=benchmark_mini.model_copy(update={"detection": workers})) == before
    longer = benchmark_mini.detection.model_copy(update={"iterations": 301})
    after = keys(benchmark=benchmark_mini.model_copy(update={"detection": longer}))
    changed = {cell for cell in before if before[cell] != after[cell]}
    assert changed == {
        ("detection", "resnet50d_mixup"),
        ("detection", "scratch:resnet50d"),
    }
    other_images = {**planner.digests, "pretraining": "e" * 64}
    after = keys(digests=other_images)
    changed = {cell for cell in before if before[cell] != after[cell]}
    assert changed == {
        (task, "resnet50d_mixup") for task in ("classification", "detection", "segmentation")
    }


def test_a_plan_that_was_carried_out_has_nothing_to_do(planner: Planner) -> None:
    planner.execute(planner.plan("resnet50d_mixup"))
    again = planner.plan("resnet50d_mixup")
    assert again.todo == ()
    more = planner.plan("resnet50d_mixup", "resnet50d_cosine")
    assert {job.spec.name for job in more.todo} == {"resnet50d_cosine"}
    assert {job.seed for job in planner.plan("resnet50d_mixup", seeds=(0, 1)).todo} == {1}


def test_a_deleted_artifact_is_missed_only_where_it_is_needed(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup", tasks=("detection",))
    planner.execute(plan)
    for job in plan.jobs:
        (job.artifact / "card.json").unlink(missing_ok=True)
    assert planner.plan("resnet50d_mixup", tasks=("detection",)).todo == ()
    more = planner.plan("resnet50d_mixup")
    assert [job.kind for job in more.todo] == [
        "obtain",
        "classification",
        "segmentation",
        "segmentation",
    ]


def test_a_teacher_is_not_missed_once_its_students_are_there(planner: Planner) -> None:
    plan = planner.plan("resnet50d_distill")
    planner.execute(plan)
    (teacher,) = [job for job in plan.jobs if job.spec.name == "resnet152d_smooth"]
    (teacher.artifact / "card.json").unlink()
    for path in Layout(planner.out).records.glob("resnet152d*"):
        path.unlink()
    assert planner.plan("resnet50d_distill").todo == ()


def test_without_digests_nothing_counts_as_done(planner: Planner) -> None:
    planner.execute(planner.plan("resnet50d_mixup"))
    plan = planner.plan("resnet50d_mixup", digests=None)
    assert plan.todo == plan.jobs


def test_a_task_that_the_benchmark_lacks_is_refused(
    planner: Planner, benchmark_mini: Benchmark
) -> None:
    benchmark = benchmark_mini.model_copy(update={"segmentation": None})
    with pytest.raises(ValueError, match="no segmentation"):
        planner.plan("resnet50d_mixup", benchmark=benchmark)
    assert len(planner.plan("resnet50d_mixup", benchmark=benchmark, tasks=("detection",)).jobs) == 4


def test_an_artifact_is_a_row_without_a_pretraining(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup")
    planner.execute(plan)
    (made,) = [job.artifact for job in plan.jobs if job.kind == "classification"]
    mine = planner.plan(str(made))
    assert [row.name for row in mine.rows] == [str(made), "scratch:resnet50d"]
    assert [(job.kind, job.artifact) for job in mine.todo] == [
        ("detection", made),
        ("segmentation", made),
    ]


def test_an_artifact_of_another_width_has_no_fair_control(
    planner: Planner, benchmark_mini: Benchmark
) -> None:
    plan = planner.plan("resnet50d_mixup")
    planner.execute(plan)
    (made,) = [job.artifact for job in plan.jobs if job.kind == "classification"]
    wide = benchmark_mini.backbone.model_copy(update={"width": 1.0})
    with pytest.raises(ValueError, match=r"width 0\.25"):
        planner.plan(str(made), benchmark=benchmark_mini.model_copy(update={"backbone": wide}))


def test_only_pretraining(planner: Planner) -> None:
    plan = planner.plan("resnet50d_mixup", tasks=(), controls=False)
    assert kinds(plan) == [("classification", "resnet50d_mixup", 0)]
    assert plan.select(Records(by_key={})) == []


def test_a_job_says_every_file_that_it_reads(planner: Planner, tmp_path: Path) -> None:
    weights, benchmark = tmp_path / "w.pth", tmp_path / "mine.toml"
    weights.write_bytes(b"weights")
    plan = planner.plan(
        f"resnet50d@{weights}", "resnet50d_mixup", benchmark_argument=str(benchmark)
    )
    reads = {(job.kind, job.spec.kind): set(job.reads) for job in plan.jobs}
    artifacts = {job.spec.kind: job.artifact for job in plan.jobs}
    assert reads["obtain", "file"] == {weights}
    assert reads["obtain", "scratch"] == set()
    assert reads["classification", "trained"] == {benchmark}
    assert reads["detection", "file"] == {benchmark, artifacts["file"]}
    assert not [job.id for job in plan.jobs if job.makes_artifact and job.artifact in job.reads]


def test_weights_of_another_file_than_the_planned_one_are_not_taken(
    planner: Planner, tmp_path: Path
) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"the planned ones")

    def plan() -> Plan:
        return planner.plan(f"resnet50d@{weights}", tasks=("detection",))

    planned = plan()
    weights.write_bytes(b"others, as a node may have them")
    planner.execute(planned)
    weights.write_bytes(b"the planned ones")
    (job,) = (job for job in plan().jobs if job.weights_sha256 is not None)
    assert job.state == "todo"
    planner.execute(plan())
    assert all(job.done for job in plan().jobs)
