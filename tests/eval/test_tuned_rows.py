"""SPEC~RECIPE: its name, its place in a plan, and which of its records stand in one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backbones.artifact import save_artifact
from backbones.catalog import UnknownNameError
from backbones.create import create_backbone
from benchmarks.schema import Benchmark, FineTuneBudget
from classification.derived import find_recipe
from classification.finetune_task import FineTuneTask
from classification.recipes import FINE_TUNING
from eval.ablation import Wish, ablate_all
from eval.listing import make_listing, to_text
from eval.made import known_rows
from eval.plan import Plan, make_plan
from eval.records import Record, Records
from eval.sections.folds import section as folds_section
from eval.sections.material import Material
from eval.selection import select_comparable
from eval.show import show
from eval.show import to_text as shown_text
from eval.specs import compared_with, parse_spec, parse_specs
from eval.summary import RowName, Table, make_table
from eval.transfer import ask

Make = Callable[..., Record]


def own(benchmark: Benchmark, **changes: Any) -> Benchmark:
    """The benchmark with images of one's own."""
    budget = FineTuneBudget(root=Path("/nowhere"), image_size=64, resize_size=72, **changes)
    return benchmark.model_copy(update={"finetune": budget})


def at(minute: int) -> dict[str, str]:
    return {"finished": f"2026-01-01T00:{minute:02d}:00.000+00:00"}


def plan_of(benchmark: Benchmark, *names: str, tasks: Any = ("finetune",)) -> Plan:
    digests = dict.fromkeys(("pretraining", "detection", "segmentation", "finetune"), "d" * 64)
    none = Records(by_key={})
    out = Path("/nowhere/out")
    return make_plan(parse_specs(names), benchmark, tasks, (0,), out, records=none, digests=digests)


def test_a_name_says_the_backbone_and_the_recipe() -> None:
    (spec,) = parse_spec("resnet50d_cosine~finetune-flips")
    assert (spec.name, spec.recipe, spec.tuning) == (
        "resnet50d_cosine~finetune-flips",
        "cosine",
        "finetune-flips",
    )
    assert spec.untuned == parse_spec("resnet50d_cosine")[0]
    assert spec.control.name == "scratch:resnet50d~finetune-flips"
    assert spec.control.is_control
    assert "cosine_decay" in spec.tricks  # of its pretraining
    assert "~label_smoothing" in spec.tricks
    assert "~flips" not in spec.tricks


def test_one_recipe_has_one_name() -> None:
    assert parse_spec("timm:resnet18~finetune-all")[0].name == "timm:resnet18~plain"


def test_a_wildcard_is_of_backbones_and_never_of_recipes() -> None:
    names = [spec.name for spec in parse_spec("resnet18?_cosine~linear")]
    assert names == [f"resnet18{letter}_cosine~linear" for letter in "abcd"]
    assert not [spec for spec in parse_spec("resnet50d_*") if "finetune" in spec.name]


def test_a_path_may_hold_the_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "best.pth~old"
    weights.write_bytes(b"weights")
    monkeypatch.chdir(tmp_path)
    assert parse_spec(f"timm:resnet18@{weights.name}~plain")[0].file == weights
    (tmp_path / "backup~plain").mkdir()
    with pytest.raises(ValueError, match="backup~plain"):  # an artifact without a card
        parse_spec(str(tmp_path / "backup~plain"))


def test_a_path_whose_row_would_be_one_with_a_recipe_is_refused(tmp_path: Path) -> None:
    """By its name alone such a row would take part in no task but finetune."""
    artifact = tmp_path / "mine~v2"
    save_artifact(artifact, create_backbone("resnet18d", width=0.0625), {"weights": "random"})
    weights = tmp_path / "w~v2"
    weights.write_bytes(b"weights")
    for path in (artifact, f"{artifact}/", f"resnet50d@{weights}", f"timm:resnet18@{weights}"):
        with pytest.raises(ValueError, match=r"ends in ~v2, .* rename the file or folder"):
            parse_spec(str(path))
    (tmp_path / "mine-v2").symlink_to(artifact)
    (spec,) = parse_spec(f"{tmp_path}/mine-v2/")
    assert spec.name == f"{tmp_path}/mine-v2"
    assert parse_spec(f"{tmp_path}/mine-v2/~plain") == [spec.tuned("plain")]


def test_a_second_recipe_is_refused_and_not_forgotten() -> None:
    with pytest.raises(ValueError, match=r"two .* ~plain and ~linear: a row has one"):
        parse_spec("timm:resnet18~plain~linear")


def test_an_unknown_recipe_is_told_from_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="'gradul'; nearest: gradual"):
        parse_spec("resnet50d_mixup~gradul")


def test_recipes_of_one_backbone_share_its_weights(benchmark_mini: Benchmark) -> None:
    names = ("resnet50d_cosine~plain", "resnet50d_cosine~finetune", "resnet50d_cosine")
    plan = plan_of(own(benchmark_mini), *names, tasks=("detection", "finetune"))
    trained = [job for job in plan.jobs if job.kind == "classification"]
    assert [job.spec.name for job in trained] == ["resnet50d_cosine"]
    tuned = {job.spec.name: job for job in plan.jobs if job.kind == "finetune"}
    assert all(
        tuned[name].artifact == trained[0].artifact and trained[0].id in tuned[name].needs
        for name in names[:2]
    )
    command = tuned[names[0]].command
    assert command[command.index("--recipe") + 1] == "plain"


def test_a_row_with_a_recipe_has_that_task_alone_and_stands_beside_plain(
    benchmark_mini: Benchmark,
) -> None:
    """Of the same weights; random weights only where somebody names them."""
    tasks = ("detection", "probes", "finetune")
    plan = plan_of(own(benchmark_mini), "resnet50d_cosine~linear", tasks=tasks)
    assert [(cell.row.name, cell.task) for cell in plan.cells] == [
        ("resnet50d_cosine~linear", "finetune"),
        ("resnet50d_cosine~plain", "finetune"),
    ]
    named = plan_of(own(benchmark_mini), "resnet50d_cosine~plain", "scratch:resnet50d~linear")
    assert [row.name for row in named.rows] == [
        "resnet50d_cosine~plain",
        "scratch:resnet50d~linear",
        "scratch:resnet50d~plain",
    ]


def test_of_several_backbones_only_the_baseline_is_added(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[finetune]\nroot = "photographs"\n')
    asked = ["scratch:resnet18d~linear", "scratch:resnet18b~linear", "scratch:resnet18c"]
    question = ask(
        asked,
        benchmark=str(tmp_path / "own.toml"),
        seeds=[0],
        out=str(tmp_path / "out"),
        command="trickle run",
        baseline="scratch:resnet18d~plain",
    )
    rows = [row.name for row in question.plan(Records(by_key={}), None).rows]
    assert sorted(rows) == sorted([*asked, "scratch:resnet18d~plain"])


@pytest.mark.parametrize(
    ("baseline", "added"),
    [("linear", []), ("plain", ["plain"]), (None, ["plain"])],
    ids=str,
)
def test_nothing_is_added_beside_a_baseline_that_is_there(
    tmp_path: Path, baseline: str | None, added: list[str]
) -> None:
    (tmp_path / "own.toml").write_text('[finetune]\nroot = "photographs"\n')
    asked = [f"scratch:resnet18d~{recipe}" for recipe in ("linear", "linear+grey")]
    question = ask(
        asked,
        benchmark=str(tmp_path / "own.toml"),
        seeds=[0],
        out=str(tmp_path / "out"),
        command="trickle run",
        baseline=baseline and f"scratch:resnet18d~{baseline}",
    )
    rows = [row.name for row in question.plan(Records(by_key={}), None).rows]
    assert rows == [*asked, *(f"scratch:resnet18d~{recipe}" for recipe in added)]


@pytest.mark.parametrize(
    ("row", "control", "reference"),
    [
        ("resnet50d_mixup", "scratch:resnet50d", "scratch:resnet50d"),
        ("scratch:resnet50d", None, None),
        ("x@a/b.pth~linear+flips", "scratch:x~linear+flips", "x@a/b.pth~plain"),
        ("x~plain", "scratch:x~plain", None),
    ],
)
def test_a_row_of_a_record_is_compared_as_that_of_a_plan(
    row: str, control: str | None, reference: str | None
) -> None:
    assert compared_with(row, control) == reference


def table_of(*records: Record) -> Table:
    """As `trickle report` makes it."""
    found = select_comparable(records)
    return make_table(
        found.kept, benchmark="b", rows=found.rows, seeds=found.seeds, tasks=found.tasks
    )


def deltas(table: Table) -> dict[str, float | None]:
    scores = {row.name.backbone: row.metrics["tuned_top1"] for row in table.rows}
    return {
        name: None if score is None or score.delta is None else score.delta.mean
        for name, score in scores.items()
    }


PLAINLY = {"recipe": find_recipe("plain", FINE_TUNING).canonical()}


def test_the_table_says_what_differences_are_to(make_record: Make) -> None:
    finetune = tuned(make_record, "x~finetune", 65.0, "b", control="scratch:x~finetune")
    plain = tuned(make_record, "x~plain", 60.0, "a", control="scratch:x~plain")
    table = table_of(finetune, plain)
    assert (table.reference, table.baseline) == ("plain fine-tuning", "x~plain")
    assert deltas(table) == {"x~finetune": 5.0, "x~plain": None}
    alone = table_of(finetune)
    assert (alone.baseline, deltas(alone)) == (None, {"x~finetune": None})
    bare = tuned(make_record, "x", 62.0, "c", control="scratch:x", tricks=())
    control = tuned(make_record, "scratch:x", 22.0, "c", tricks=(), lineage="b" * 16)
    mixed = table_of(finetune, plain, bare, control)
    assert deltas(mixed) == {"x~finetune": 5.0, "x~plain": None, "x": 40.0, "scratch:x": None}
    assert mixed.reference == "the control (plain fine-tuning of SPEC~RECIPE)"


def test_no_row_is_compared_with_plain_fine_tuning_of_other_weights(make_record: Make) -> None:
    """As where the file behind a name is another one now, and plain was not trained again."""
    old = [
        tuned(make_record, name, value, "a", environment=at(minute))
        for minute, (name, value) in enumerate([("x@w~plain", 60.0), ("x@w~linear", 65.0)])
    ]
    new = tuned(make_record, "x@w~linear", 80.0, "b", lineage="b" * 16, environment=at(5))
    assert deltas(table_of(*old)) == {"x@w~plain": None, "x@w~linear": 5.0}
    assert deltas(table_of(*old, new)) == {"x@w~linear": None}


def test_one_content_is_one_reference_however_it_is_written(make_record: Make) -> None:
    """A path in two ways, a benchmark's recipe without a name, the control of older records."""
    linear = tuned(make_record, "./runs/a~linear", 65.0, "b", control="scratch:x~linear")
    plain = {"protocol": {**linear.protocol, **PLAINLY}, "control": "scratch:x~plain"}
    for name in ("runs/a~plain", "runs/a"):
        found = deltas(table_of(linear, tuned(make_record, name, 60.0, "a", **plain)))
        assert found["./runs/a~linear"] == 5.0
    random = tuned(make_record, "scratch:x~linear", 20.0, "b", lineage="b" * 16)
    assert deltas(table_of(linear, random))["./runs/a~linear"] == 45.0


def test_progress_names_a_row_as_the_table_does(benchmark_mini: Benchmark, tmp_path: Path) -> None:
    artifact = tmp_path / "somewhere" / "made-s0"
    save_artifact(artifact, create_backbone("resnet18d", width=0.25), {"weights": "random"})
    names = ("scratch:resnet18d~plain", f"{artifact}~plain")
    plan = plan_of(own(benchmark_mini), *names)
    said = {}
    for job in plan.jobs:
        if job.kind == "finetune":
            row = job.command[job.command.index("--row") + 1]
            task: Any = SimpleNamespace(row=row, seed=job.seed)
            said[job.spec.name] = FineTuneTask.label.fget(task)  # type: ignore[attr-defined]
    assert said == {
        names[0]: "fine-tuning, scratch:resnet18d~plain, seed 0",
        names[1]: "fine-tuning, …/made-s0~plain, seed 0",
    }


def test_the_benchmarks_recipe_is_that_of_a_name_without_one(benchmark_mini: Benchmark) -> None:
    """And both are one fine-tuning."""
    benchmark = own(benchmark_mini, recipe="gradual")
    plan = plan_of(benchmark, "resnet50d_cosine", "resnet50d_cosine~gradual")
    keys = {cell.row.name: cell.key for cell in plan.cells if cell.task == "finetune"}
    assert keys["resnet50d_cosine"] == keys["resnet50d_cosine~gradual"]
    (protocol,) = [
        job.protocol
        for job in plan.jobs
        if job.kind == "finetune" and job.spec.name == "resnet50d_cosine"
    ]
    assert set(protocol["recipe"]["tricks"]) >= {"gradual_unfreezing", "layer_decay"}


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"validation": "kfold"}, True),
        ({"validation_share": 0.5}, True),
        ({"folds": 3}, False),  # a hold-out has none
        ({"image_size": 32}, True),
        ({"workers": 0}, False),
        ({"recipe": "linear"}, False),  # the name says another
    ],
    ids=str,
)
def test_what_moves_the_number_moves_the_key(
    benchmark_mini: Benchmark, changes: dict[str, Any], moves: bool
) -> None:
    def key(benchmark: Benchmark) -> str:
        return plan_of(benchmark, "scratch:resnet18d~plain").cells[0].key

    before = own(benchmark_mini)
    assert before.finetune is not None
    budget = before.finetune.model_copy(update=changes)
    assert (key(before) != key(before.model_copy(update={"finetune": budget}))) == moves


def test_a_recipe_without_its_task_is_refused(benchmark_mini: Benchmark) -> None:
    with pytest.raises(ValueError, match="add finetune to --tasks"):
        plan_of(own(benchmark_mini), "resnet50d_cosine~plain", tasks=("detection",))
    with pytest.raises(ValueError, match=r"has no finetune.*add \[finetune\]"):
        plan_of(benchmark_mini, "resnet50d_cosine~plain")


def test_an_ablation_takes_the_recipe_of_fine_tuning_apart(benchmark_mini: Benchmark) -> None:
    wish = Wish(backbones=("timm:resnet18~linear",), mode="leave-one-out")
    names = [spec.name for spec in ablate_all(wish, own(benchmark_mini)).specs]
    assert names == [
        "timm:resnet18~linear",
        *(f"timm:resnet18~linear-{trick}" for trick in ("optimizer", "head_only", "plain_views")),
    ]


def test_show_says_the_numbers_of_the_fine_tuning(benchmark_mini: Benchmark) -> None:
    shown = show("resnet50d_mixup~gradual", own(benchmark_mini))
    assert shown["recipe"] == "gradual"
    assert shown["numbers"]["tuning.unfreeze_epochs"] == {
        "value": 1,
        "set_by": "gradual_unfreezing",
    }
    assert shown["plan"] is None  # its images are not there


def tuned(make: Make, name: str, value: float, recipe: str, **changes: Any) -> Record:
    protocol = {
        "recipe": {"tricks": {recipe: {}}},
        "budget": {"image_size": 64},
        "division": {"validation": "kfold", "folds": 3},
        "data": "d",
    }
    tricks = (f"~{recipe}",)
    content = {"protocol": protocol, "tricks": tricks, "control": None, **changes}
    return make(name, task="finetune", metrics={"tuned_top1": value}, **content)


def test_rows_that_differ_by_their_recipe_stand_in_one_table(make_record: Make) -> None:
    control = {"control": "scratch:resnet50d"}
    records = [
        make_record(task="classification", metrics={"top1": 70.0}),
        tuned(make_record, "resnet50d_mixup~plain", 60.0, "a", **control),
        tuned(make_record, "resnet50d_mixup~gradual", 65.0, "b", **control),
    ]
    selection = select_comparable(records)
    assert selection.kept == tuple(records[1:])
    assert [row.backbone for row in selection.rows] == [
        "resnet50d_mixup~gradual",
        "resnet50d_mixup~plain",
    ]
    assert selection.left_out == ()  # the pretraining is that of the rows, and none of its own
    other = {**records[2].protocol, "budget": {"image_size": 32}}
    later = tuned(make_record, "resnet50d_mixup~linear", 70.0, "c", **control, protocol=other)
    assert select_comparable([*records, later]).kept == (later,)


def test_what_a_trick_of_fine_tuning_is_worth_is_asked_within_one_backbone(
    make_record: Make,
) -> None:
    control = {"control": "scratch:x"}
    records = [
        tuned(make_record, "one~plain", 60.0, "a", **control),
        tuned(make_record, "one~plain+flips", 61.0, "b", **control),
        tuned(make_record, "two~plain", 60.0, "a", lineage="b" * 16, **control),
    ]
    rows, unknown = known_rows(records)
    assert unknown == []
    assert rows["one~plain"].differs_by_tricks_alone(rows["one~plain+flips"])
    assert not rows["one~plain"].differs_by_tricks_alone(rows["two~plain"])


def test_folds_are_shown_with_the_corrected_interval(make_record: Make) -> None:
    of_folds = {
        "x~plain": {"fold 1": 50.0, "fold 2": 60.0, "fold 3": 70.0},
        "scratch:x~plain": {"fold 1": 40.0, "fold 2": 50.0, "fold 3": None},
    }
    records = [
        tuned(
            make_record,
            name,
            60.0,
            "a",
            control=None if name.startswith("scratch") else "scratch:x~plain",
            per_class={"folds": of},
        )
        for name, of in of_folds.items()
    ]
    table = make_table(
        records,
        benchmark="mini",
        rows=[RowName(backbone=r.backbone, control=r.control) for r in records],
        seeds=(0,),
        tasks=("finetune",),
    )
    found = folds_section(
        Material(table=table, records=tuple(records), evidence=lambda record: None)
    )
    assert found is not None
    (grid,) = found.blocks
    shown = {row[0].text: [cell.text for cell in row[1:]] for row in grid.rows}  # type: ignore[union-attr]
    # s = 10; t(0.975, 2) = 4.302653; each fold validates on half of what it is fitted on:
    # 4.302653 * 10 * sqrt(1/3 + 1/2) = 39.28
    assert shown["x~plain"][:4] == ["3", "60.0 ± 39.3", "50.0", "70.0"]
    assert shown["x~plain"][4] == "+10.0 ± 0.0"  # of the two folds that both have
    assert shown["scratch:x~plain"][0] == "2"


def test_the_list_names_the_recipes_and_the_stage_of_each_trick() -> None:
    listing = make_listing()
    assert set(listing["fine_tunings"]) >= {"finetune", "plain", "gradual", "linear"}
    assert not set(listing["fine_tunings"]) & set(listing["recipes"])
    stages = {trick["name"]: trick["stage"] for trick in listing["tricks"]}
    assert (stages["zero_gamma"], stages["layer_decay"], stages["mixup"]) == (
        "pretraining",
        "finetune",
        "any",
    )
    assert "  linear " in to_text(listing).partition("Recipes of fine-tuning:")[2]


def test_a_recipe_of_fine_tuning_is_shown_without_a_backbone(
    benchmark_mini: Benchmark,
) -> None:
    shown = show("~gradual", benchmark_mini)
    assert shown["numbers"]["tuning.unfreeze_epochs"]["value"] == 1
    text = shown_text(shown)
    assert text.startswith("~gradual\n")
    assert "trickle finetune FOLDER --recipe gradual" in text
    assert "expected" not in text
    assert "photographs" in text.partition("measured")[2]
    assert "measured" not in shown_text(show("~gradual-flips", benchmark_mini))
    assert "one's own images" in text
    # The packaged benchmark has no images for it: no command that would be refused.
    of_backbone = show("resnet50d_mixup~gradual", benchmark_mini)["command"]
    assert of_backbone == "trickle finetune FOLDER --backbone resnet50d_mixup --recipe gradual"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet50d_mixup~", "no recipe after the ~; there are finetune, plain"),
        ("resnet50d_mixup~plain+hidden_layers=128", r"none of their knobs.*--recipes FILE.py"),
        ("resnet50d_mixup~finetune+mixup+cut_mix", r"take the other away first \(-mixup\)"),
    ],
)
def test_a_name_that_says_too_little_or_too_much_is_refused(
    benchmark_mini: Benchmark, name: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        parse_spec(name)
    with pytest.raises(ValueError, match=said):
        show(name, benchmark_mini)
