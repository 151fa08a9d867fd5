"""Cost beside gain: times counted once, a rate only where there is one, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.results import Metric
from eval.records import Record
from eval.sections.cost import section
from eval.sections.material import Material
from eval.sections.pareto import PricedPoint, draw_front, pareto_front
from eval.sections.section import Grid, Plot, Section
from eval.summary import RowName, make_table

Make = Callable[..., Record]
CONTROL = "scratch:resnet50d"
HOSTILE = '<b onclick="x">$\\frac{</b>'


@pytest.fixture
def make(make_record: Make) -> Callable[..., Record]:
    """make("resnet50d_a", "detection", value, seed=0, **cost): one record."""

    def record(
        backbone: str,
        task: str,
        metrics: dict[str, float | None],
        *,
        seed: int = 0,
        protocol: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        **cost: float,
    ) -> Record:
        unit = "images/s" if task == "speed" else "percent"
        made = make_record(backbone, task=task, seed=seed)
        update = {
            "metrics": {n: Metric(value=v, n=100, unit=unit) for n, v in metrics.items()},
            "cost": cost,
            "protocol": protocol or {},
            "environment": environment or {},
            "status": "ok",
            "message": None,
        }
        return made.model_copy(update=update)

    return record


def material_of(records: Sequence[Record], names: Sequence[str]) -> Material:
    rows = [
        RowName(backbone=n, control=None if n.startswith("scratch") else CONTROL) for n in names
    ]
    seeds = sorted({record.seed for record in records}) or [0]
    tasks = ("detection", "segmentation")
    table = make_table(records, benchmark="mini", rows=rows, seeds=seeds, tasks=tasks)
    return Material(table=table, records=tuple(records), evidence=lambda record: None)


def made(material: Material) -> Section:
    found = section(material)
    assert found is not None
    return found


def grid(found: Section, caption: str) -> dict[str, dict[str, Any]]:
    """backbone -> column -> cell."""
    (block,) = [b for b in found.blocks if isinstance(b, Grid) and b.caption == caption]
    return {row[0].text: dict(zip(block.header, row, strict=True)) for row in block.rows}


COSTS, GAINS = "What each backbone costs", "What the extra time buys"


@pytest.fixture
def records(make: Callable[..., Record]) -> list[Record]:
    """Two trainings of an hour and of one and a half, the second taught for half an hour."""
    size = {"backbone_parameters": 1_500_000.0, "backbone_gmacs": 0.28}
    found = []
    for seed, step in ((0, 0.0), (1, 1.0), (2, 2.0)):
        found += [
            make("a", "classification", {"top1": 60.0}, seed=seed, seconds=3600.0, **size),
            make("a", "detection", {"mAP": 30.0 + step}, seed=seed, seconds=600.0, **size),
            make("b", "classification", {"top1": 61.0}, seed=seed, seconds=5400.0, **size,
                 teacher_seconds=1800.0),
            make("b", "detection", {"mAP": 34.0 + 1.1 * step}, seed=seed, seconds=600.0, **size),
            make(CONTROL, "detection", {"mAP": 20.0 + step}, seed=seed, seconds=600.0, **size),
        ]  # fmt: skip
    return found


def test_the_teacher_stands_apart_and_is_counted_once(records: list[Record]) -> None:
    found = made(material_of(records, ["a", "b", CONTROL]))
    costs = grid(found, COSTS)
    assert (costs["b"]["pretraining"].text, costs["b"]["its teacher"].text) == ("1h30m", "30m00s")
    assert costs["a"]["its teacher"].text == "–"
    assert costs[CONTROL]["pretraining"].text == "–"
    assert costs[CONTROL]["fine-tuning"].sort == 600
    # 1.5 h and half an hour of its teacher, less one hour: one hour more.
    assert grid(found, GAINS)["b"]["extra time"].sort == 3600
    assert "1h00m to 2h00m" in found.lead


def test_points_per_extra_hour_by_hand(records: list[Record]) -> None:
    row = grid(made(material_of(records, ["a", "b", CONTROL])), GAINS)["b"]
    # Differences by seed 4.0, 4.1, 4.2: mean 4.1, and an hour more.
    assert row["mAP"].text == "+4.1"
    assert row["mAP per extra hour"].sort == pytest.approx(4.1)
    assert row["mIoU per extra hour"].text == "–"  # nothing was segmented
    assert row["against"].text == "a"


def test_one_seed_says_nothing_sure(records: list[Record]) -> None:
    one = [record for record in records if record.seed == 0]
    row = grid(made(material_of(one, ["a", "b", CONTROL])), GAINS)["b"]
    assert row["mAP per extra hour"].text == "(+4.0)"


def test_no_rate_where_the_time_is_the_same(
    records: list[Record], make: Callable[..., Record]
) -> None:
    records += [
        make("c", "classification", {"top1": 62.0}, seconds=3601.0),
        make("c", "detection", {"mAP": 50.0}, seconds=600.0),
    ]
    row = grid(made(material_of(records, ["a", "b", "c", CONTROL])), GAINS)["c"]
    assert row["mAP"].text == "(+20.0)"
    assert row["mAP per extra hour"].text == "–"


def test_the_teachers_own_row_tells_its_time(
    records: list[Record], make: Callable[..., Record]
) -> None:
    """Of records that do not say it themselves."""
    taught = {"recipe": {"tricks": {"distillation": {"teacher": "a"}}}}
    records += [
        make("c", "classification", {"top1": 62.0}, protocol=taught, seconds=100.0),
        make("d", "classification", {"top1": 62.0}, seconds=100.0,
             protocol={"recipe": {"tricks": {"distillation": {"teacher": "unknown"}}}}),
    ]  # fmt: skip
    found = made(material_of(records, ["a", "b", "c", "d", CONTROL]))
    assert grid(found, COSTS)["c"]["its teacher"].sort == 3600
    assert any("teacher is not known" in text and "d" in text for text in found.left_out)


def test_speed_belongs_to_the_architecture(
    records: list[Record], make: Callable[..., Record]
) -> None:
    machine = {"cpu": "one", "accelerator": "none", "threads": "1"}
    for name, speed in (("a", 90.0), (CONTROL, 110.0)):
        metrics = {"images_per_second_224": speed, "images_per_second_detection": None}
        records.append(make(name, "speed", metrics, environment=machine))
    found = made(material_of(records, ["a", "b", CONTROL]))
    costs = grid(found, COSTS)
    assert {costs[name]["images/s at 224"].sort for name in ("a", "b", CONTROL)} == {100.0}
    assert costs["a"]["images/s at detection's size"].text == "–"
    other = {**machine, "cpu": "two"}
    records.append(make("b", "speed", {"images_per_second_224": 50.0}, environment=other))
    found = made(material_of(records, ["a", "b", CONTROL]))
    assert any("2 different machines" in text for text in found.left_out)


def test_without_speed_the_plot_is_over_gmacs_and_says_so(records: list[Record]) -> None:
    found = made(material_of(records, ["a", "b", CONTROL]))
    (plot,) = [block for block in found.blocks if isinstance(block, Plot)]
    assert "GMACs" in plot.caption
    assert any("--tasks speed" in text for text in found.left_out)
    drawn(plot)


def drawn(plot: Plot) -> Any:
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=plot.size)
    with matplotlib.rc_context({"text.parse_math": False}):
        plot.draw(figure)
        figure.canvas.draw()
    return figure


@pytest.mark.parametrize("names", [["a"], [CONTROL], ["a", CONTROL], [HOSTILE]])
def test_odd_tables_still_make_a_section(make: Callable[..., Record], names: list[str]) -> None:
    records = [make(name, "detection", {"mAP": None}) for name in names]
    found = made(material_of(records, names))
    assert len(grid(found, COSTS)) == len(names)
    assert section(material_of([], [])) is None


def test_the_front_by_hand() -> None:
    #          kept     beaten by 0  kept    beaten by 2  kept      beaten by 4
    points = [(10, 50), (9, 50), (8, 60), (8, 55), (1, 70), (0.5, 70)]
    assert pareto_front(points) == [0, 2, 4]
    assert pareto_front([]) == []
    assert sorted(pareto_front([(1, 1), (1, 1), (0, 0)])) == [0, 1]  # equal ones are all in


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_what_no_point_dominates(points: list[tuple[int, int]]) -> None:
    def beaten(a: tuple[int, int]) -> bool:
        return any(b != a and b[0] >= a[0] and b[1] >= a[1] for b in points)

    expected = {place for place, point in enumerate(points) if not beaten(point)}
    assert set(pareto_front(points)) == expected


def test_a_hundred_backbones_of_hostile_names_can_be_drawn() -> None:
    points = [
        PricedPoint(name=f"{HOSTILE}{i}", rate=float(i % 7), score=math.sqrt(i), parameters=None)
        for i in range(100)
    ]
    plot = Plot(caption="", alt="", draw=draw_front(points, x="x", y="y", shown=lambda rate: rate))
    axes = drawn(plot).axes[0]
    assert len([text for text in axes.texts if text.get_text()]) == 40
