"""Cost beside gain: times counted once, a rate only where there is one, the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import ttest_rel

from engine.results import Metric
from eval.image_bootstrap import ImageBootstrap
from eval.records import Record, TaskName
from eval.sections.cost import section
from eval.sections.material import Material
from eval.sections.pareto import PricedPoint, pareto_front, standings
from eval.sections.pareto_plot import draw_front
from eval.sections.scatter import height_for
from eval.sections.section import Grid, Paragraph, Plot, Section
from eval.summary import RowName, make_table
from eval.teachers import teachers_records
from tests.eval.drawn_by_image import DrawnByImage

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


def material_of(
    records: Sequence[Record], names: Sequence[str], controls: Mapping[str, str] | None = None
) -> Material:
    """controls: of the rows that have another one than CONTROL."""
    rows = [
        RowName(
            backbone=n,
            control=None if n.startswith("scratch") else (controls or {}).get(n, CONTROL),
        )
        for n in names
    ]
    seeds = sorted({record.seed for record in records}) or [0]
    tasks: tuple[TaskName, ...] = ("detection", "segmentation")
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
    # 1.5 h and half an hour of its teacher; random weights take no time.
    assert grid(found, GAINS)["b"]["extra time"].sort == 7200
    assert "1h00m to 2h00m" in found.lead


def test_points_per_extra_hour_by_hand(records: list[Record]) -> None:
    row = grid(made(material_of(records, ["a", "b", CONTROL])), GAINS)["b"]
    # Differences by seed 14.0, 14.1, 14.2: mean 14.1, in two hours.
    assert row["against"].text == CONTROL
    assert row["mAP"].text == "+14.1"
    assert row["mAP per extra hour"].sort == pytest.approx(7.05)
    assert row["mIoU per extra hour"].text == "–"  # nothing was segmented


def test_without_a_control_the_plainest_row_is_held_against(records: list[Record]) -> None:
    trained = [record for record in records if record.backbone != CONTROL]
    row = grid(made(material_of(trained, ["a", "b"])), GAINS)["b"]
    # Differences by seed 4.0, 4.1, 4.2: mean 4.1, and two hours less one.
    assert (row["against"].text, row["mAP"].text) == ("a", "+4.1")
    assert row["extra time"].sort == 3600
    assert row["mAP per extra hour"].text == "+4.1"


def test_one_seed_says_nothing_sure(records: list[Record]) -> None:
    one = [record for record in records if record.seed == 0 and record.backbone != CONTROL]
    row = grid(made(material_of(one, ["a", "b"])), GAINS)["b"]
    assert row["mAP per extra hour"].text == "(+4.0)"


@pytest.mark.parametrize(
    ("reference", "own", "rate"),
    [
        (3600.0, 3600.0 + 175, None),  # below 5% of 3600 s = 180 s
        (3600.0, 3600.0 + 200, 20 / (200 / 3600)),
        (100.0, 150.0, None),  # half as long again, and yet below 60 s
        (100.0, 170.0, 20 / (70 / 3600)),
        (3600.0, 3000.0, None),
    ],
)
def test_noise_of_times_is_no_divisor(
    make: Callable[..., Record], reference: float, own: float, rate: float | None
) -> None:
    records = []
    for name, seconds, score in (("a", reference, 30.0), ("c", own, 50.0)):
        records.append(make(name, "classification", {"top1": 60.0}, seconds=seconds))
        records.append(make(name, "detection", {"mAP": score}, seconds=600.0))
    row = grid(made(material_of(records, ["a", "c"])), GAINS)["c"]
    assert row["mAP"].text == "(+20.0)"
    cell = row["mAP per extra hour"]
    assert cell.sort == (None if rate is None else pytest.approx(rate))
    why = "" if rate is not None else "noise" if own > reference else "no extra time"
    assert why in cell.detail
    assert bool(cell.detail) is (rate is None)


def test_gain_and_extra_time_are_of_the_same_seeds(
    records: list[Record], make: Callable[..., Record]
) -> None:
    """Seed 0, the only one of the control, took an hour, the others ten."""
    records = [r for r in records if r.backbone != "b" and (r.backbone == "a" or r.seed == 0)]
    for record in records:
        if record.task == "classification" and record.seed > 0:
            record.cost["seconds"] = 36000.0
    row = grid(made(material_of(records, ["a", CONTROL])), GAINS)["a"]
    assert row["mAP"].text == "(+10.0) 1 of 3 seeds"
    assert row["extra time"].sort == 3600
    assert row["mAP per extra hour"].text == "(+10.0)"
    # mIoU is known of all seeds: its rate is of their mean time, 7 h.
    records += [make(n, "segmentation", {"mIoU": value}, seed=seed) for seed in range(3)
                for n, value in (("a", 34.0), (CONTROL, 20.0))]  # fmt: skip
    row = grid(made(material_of(records, ["a", CONTROL])), GAINS)["a"]
    assert row["mAP per extra hour"].sort == pytest.approx(10.0)
    assert "1h00m" in row["mAP per extra hour"].detail
    assert row["mIoU per extra hour"].sort == pytest.approx(2.0)


def test_a_short_training_against_random_weights_is_short_and_no_noise(
    make: Callable[..., Record],
) -> None:
    records = [make("a", "classification", {"top1": 60.0}, seconds=45.0)]
    records += [make(name, "detection", {"mAP": 30.0}, seconds=1.0) for name in ("a", CONTROL)]
    cell = grid(made(material_of(records, ["a", CONTROL])), GAINS)["a"]["mAP per extra hour"]
    assert cell.text == "–"
    assert "too short to extrapolate to an hour" in cell.detail
    assert "noise" not in cell.detail


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
    assert "images/s at detection's size" not in costs["a"]  # measured for no row
    other = {**machine, "cpu": "two"}
    records.append(make("b", "speed", {"images_per_second_224": 50.0}, environment=other))
    found = made(material_of(records, ["a", "b", CONTROL]))
    assert any("2 different machines" in text for text in found.left_out)


def test_times_of_a_busy_machine_are_not_the_cost(make: Callable[..., Record]) -> None:
    """Equal steps of 1 and of 5 seconds: the work is the same, and nothing is cheaper."""
    protocol = {"recipe": {"batch_size": 100}, "budget": {"image_size": 112}}
    found = []
    for name, seconds, steps, score in (("a", 100.0, 100.0, 30.0), ("b", 500.0, 100.0, 29.0),
                                        ("c", 150.0, 200.0, 40.0)):  # fmt: skip
        found += [
            make(name, "classification", {"top1": 60.0}, protocol=protocol, seconds=seconds,
                 iterations=steps, backbone_gmacs=2.0, backbone_gmacs_image_size=224.0),
            make(name, "detection", {"mAP": score}),
        ]  # fmt: skip
    said = made(material_of(found, ["a", "b", "c"]))
    assert "times of pretraining are not comparable: the same step took 0.75 to 5 s" in said.lead
    costs = grid(said, COSTS)
    # 100 steps of 100 images of a quarter of the pixels, forward and twice as much backward.
    assert costs["a"]["work"].sort == costs["b"]["work"].sort == 100 * 100 * 2e9 / 4 * 3
    assert costs["c"]["iterations"].text == "200"
    gains = grid(said, "What the extra work buys")
    assert gains["b"]["mAP per extra tera-MAC"].text == "–"
    assert gains["c"]["mAP per extra tera-MAC"].sort == pytest.approx(10 / 15)  # 15e12 more
    assert "images/s" not in " ".join(
        note for block in said.blocks if isinstance(block, Grid) for note in block.notes
    )


def test_the_work_of_a_student_is_its_own_and_that_of_its_teachers(
    make: Callable[..., Record],
) -> None:
    """The teacher is no row: it was only pretrained; and it had a teacher itself."""
    budget = {"image_size": 224}

    def trained(name: str, seconds: float, gmacs: float, teacher: str | None = None) -> Record:
        tricks = {} if teacher is None else {"distillation": {"teacher": teacher}}
        return make(
            name, "classification", {"top1": 60.0}, seconds=seconds, iterations=100.0,
            protocol={"recipe": {"batch_size": 10, "tricks": tricks}, "budget": budget},
            backbone_gmacs=gmacs, backbone_gmacs_image_size=224.0,
        )  # fmt: skip

    # Equal steps of 1 and of 5 seconds: work counts.
    rows = [trained("a", 100.0, 2.0), trained("c", 500.0, 2.0), trained("b", 150.0, 2.0, "large")]
    scores = {"a": 30.0, "b": 40.0, "c": 29.0}
    rows += [make(name, "detection", {"mAP": score}) for name, score in scores.items()]
    teachers = [trained("large", 300.0, 5.0, "huge"), trained("huge", 900.0, 7.0)]
    others = [
        trained("large", 1.0, 999.0).model_copy(update={"seed": 1}),  # of no teacher's seed
        trained("huge", 1.0, 999.0).model_copy(update={"protocol": {"budget": "another"}}),
    ]
    material = material_of(rows, ["a", "b", "c"])
    found = made(material)
    assert grid(found, COSTS)["b"]["work"].text == "–"
    assert any("so that there is no sum: b" in text for text in found.left_out)

    known = teachers_records(rows, [*rows, *others, *teachers])
    assert {record.backbone: record.cost["seconds"] for record in known} == {
        "large": 300.0,
        "huge": 900.0,
    }
    found = made(replace(material, teachers=known))
    # By hand, of 1000 images, in giga-MACs: three passes of each training, and one of its teacher.
    own, large, huge = 3 * 2 + 5, 3 * 5 + 7, 3 * 7
    cell = grid(found, COSTS)["b"]["work"]
    assert cell.sort == 1000 * 1e9 * (own + large + huge)
    assert cell.detail == "43 tera-MACs of them for its teacher's own training"
    assert not any("teacher" in text or "not known" in text for text in found.left_out)
    gains = grid(found, "What the extra work buys")
    assert gains["b"]["mAP per extra tera-MAC"].sort == pytest.approx(10 / (54 - 6))


def test_brackets_speak_of_times_only_where_times_count(records: list[Record]) -> None:
    def note() -> str:
        found = made(material_of(records, ["a", "b", CONTROL]))
        grids = [block for block in found.blocks if isinstance(block, Grid)]
        (gains,) = [block for block in grids if block.caption.startswith("What the extra")]
        return gains.notes[0]

    assert "the 95% interval of the extra time holds 0" in note()
    for record in records:
        if record.task == "classification":  # equal steps, of which some take five times as long
            record.protocol.update(recipe={"batch_size": 100}, budget={"image_size": 112})
            record.cost.update(iterations=100.0, backbone_gmacs=2.0)
            record.cost["seconds"] *= 5 if record.backbone == "b" else 1
    said = note()
    assert said.startswith("Extra work")
    assert "time" not in said


def test_one_seed_is_compared_over_its_images(records: list[Record]) -> None:
    """Of rows that the table does not compare: the section tests them itself."""
    trained = [r for r in records if r.seed == 0 and r.backbone != CONTROL]
    lower = [
        r if r.task != "detection" or r.backbone == "a" else r.model_copy(
            update={"metrics": {"mAP": Metric(value=20.0, n=100)}}
        )
        for r in trained
    ]  # fmt: skip
    for p_value, gain, beaten in ((0.02, "+4.0", True), (0.2, "(+4.0)", False)):
        drawn = DrawnByImage(p_value)
        bootstrap = cast(ImageBootstrap, drawn)
        found = made(replace(material_of(trained, ["a", "b"]), bootstrap=bootstrap))
        assert grid(found, GAINS)["b"]["mAP"].text == gain
        assert drawn.asked == {("mAP", "b", "a")}
        # Dearer, and 10 below.
        found = made(replace(material_of(lower, ["a", "b"]), bootstrap=bootstrap))
        assert ("; beaten: 1 of 2" in found.lead) is beaten, found.lead
        assert ("no evidence that it is beaten: 1 of 2" in found.lead) is not beaten


def plots(found: Section) -> list[Plot]:
    return [block for block in found.blocks if isinstance(block, Plot)]


def test_of_one_architecture_the_plot_is_over_the_time_of_training(records: list[Record]) -> None:
    found = made(material_of(records, ["a", "b", CONTROL]))
    (plot,) = plots(found)
    assert "pretraining time, the teacher's included" in plot.caption
    assert any("without random weights" in text for text in found.left_out)
    axes = drawn(plot).axes[0]
    assert "hours" in axes.get_xlabel()
    at = sorted(x for points in axes.collections for x, _ in points.get_offsets().tolist() if x > 0)
    assert at == pytest.approx([1.0, 2.0])


def test_of_several_without_speed_it_is_over_gmacs_and_says_so(records: list[Record]) -> None:
    found = made(material_of(records, ["a", "b", CONTROL], {"b": "scratch:resnet18d"}))
    (plot,) = plots(found)
    assert "GMACs" in plot.caption
    assert any("--tasks speed" in text for text in found.left_out)
    drawn(plot)


def test_a_row_of_fewer_seeds_is_marked_everywhere_and_on_no_front(
    records: list[Record], make: Callable[..., Record]
) -> None:
    records += [
        make("few", "classification", {"top1": 62.0}, seconds=60.0),
        make("few", "detection", {"mAP": 90.0}, seconds=600.0),  # cheapest and best
    ]
    found = made(material_of(records, ["a", "b", "few", CONTROL]))
    assert "few (1 of 3 seeds)" in found.lead
    assert "of the 2 pretrained rows with seeds 0, 1, 2 none is both" in found.lead
    assert "better than a, b;" in found.lead
    assert "But few (1 of 3 seeds) costs no more and scores higher" in found.lead
    assert grid(found, COSTS)["few"]["pretraining"].text == "1m00s (1 of 3 seeds)"
    assert "1 of 3 seeds" in grid(found, GAINS)["few"]["mAP"].text
    texts = [text.get_text() for text in drawn(plots(found)[0]).axes[0].texts]
    assert "few † (1 of 3 seeds)" in texts


def test_a_control_that_is_better_for_nothing_is_named(
    records: list[Record], make: Callable[..., Record]
) -> None:
    assert "But" not in made(material_of(records, ["a", "b", CONTROL])).lead
    good = [make(CONTROL, "detection", {"mAP": 33.0 + seed}, seed=seed) for seed in SEEDS]
    trained = [record for record in records if record.backbone != CONTROL]
    found = made(material_of([*trained, *good], ["a", "b", CONTROL]))
    assert f"But {CONTROL} (random weights) costs no more and scores higher" in found.lead


def test_as_many_but_other_seeds_are_not_called_fewer(
    records: list[Record], make: Callable[..., Record]
) -> None:
    for seed in (3, 4, 5):
        records += [
            make("other", "classification", {"top1": 62.0}, seed=seed, seconds=4000.0),
            make("other", "detection", {"mAP": 31.5 + seed / 10}, seed=seed, seconds=600.0),
        ]
    found = made(material_of(records, ["a", "b", "other", CONTROL]))
    assert "other (other seeds)" in found.lead
    assert "fewer" not in "".join(b.text for b in found.blocks if isinstance(b, Paragraph))


def drawn(plot: Plot) -> Any:
    import matplotlib

    figure = Figure(figsize=plot.size)
    with matplotlib.rc_context({"text.parse_math": False}):
        figure.set_layout_engine("constrained")
        plot.draw(figure)
        FigureCanvasAgg(figure).draw()  # type: ignore[no-untyped-call]
    return figure


@pytest.mark.parametrize("names", [["a"], [CONTROL], ["a", CONTROL], [HOSTILE]])
def test_odd_tables_still_make_a_section(make: Callable[..., Record], names: list[str]) -> None:
    records = [make(name, "detection", {"mAP": None}) for name in names]
    found = made(material_of(records, names))
    assert len(grid(found, COSTS)) == len(names)
    assert not any("The plots" in text for text in found.left_out)  # there are none
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


SEEDS = (0, 1, 2)


def priced(name: str, cost: float, *values: float) -> PricedPoint:
    return PricedPoint(name=name, cost=cost, values=dict(enumerate(values)))


def test_beaten_is_only_what_the_seeds_show() -> None:
    points = [
        priced("cheap", 1, 30.0, 31.0, 32.0),
        priced("sure", 2, 25.0, 26.1, 26.9),  # 5.0, 4.9, 5.1 below, paired
        priced("unsure", 3, 29.0, 35.0, 26.0),  # lower by the mean, not in each seed
        priced("better", 4, 33.0, 33.0, 34.0),
        priced("one", 5, 1.0),  # a seed alone has no spread
        priced("two", 6, 1.0, 1.1),
        priced("same", 7, 23.0, 23.0, 24.0),  # 10 in every seed: no spread
    ]
    unsure = "no evidence that it is beaten"
    expected = ["not beaten", "beaten", unsure, "not beaten", unsure, "beaten", unsure]
    assert standings(points, SEEDS) == expected
    alone = [priced("a", 1, 30.0), priced("b", 2, 1.0)]
    assert standings(alone, (0,)) == ["not beaten", unsure]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 50), min_size=3, max_size=3), st.floats(0, 20))
def test_evidence_is_what_students_paired_test_says(values: list[float], gap: float) -> None:
    rival = [value + gap + place for place, value in enumerate((1.0, 3.0, 2.0))]
    points = [priced("rival", 1, *rival), priced("own", 2, *values)]
    test = ttest_rel(rival, values)
    if math.isnan(test.pvalue) or abs(test.pvalue - 0.05) < 1e-6:
        return
    if sum(values) >= sum(rival):
        return
    assert (standings(points, SEEDS)[1] == "beaten") is bool(test.pvalue < 0.05)


def test_costs_within_a_percent_are_the_same() -> None:
    """A last batch that is not full makes a step more, and no cheaper recipe of the other."""
    good, poor = (30.0, 31.0, 32.0), (5.0, 5.2, 5.1)
    for cost, expected in ((0.995, "beaten"), (0.98, "not beaten")):
        points = [priced("good", 1.0, *good), priced("poor", cost, *poor)]
        assert standings(points, SEEDS) == ["not beaten", expected]


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=5
    )
)
def test_nothing_is_drawn_that_no_percentage_can_be(scores: list[tuple[float, ...]]) -> None:
    points = [priced(f"row {i}", 1 + i % 3, *values) for i, values in enumerate(scores)]
    draw = draw_front(
        points,
        standings(points, SEEDS),
        seeds=SEEDS,
        asked=3,
        x="x",
        y="y",
        shown=lambda cost: cost,
    )
    figure = Figure()
    draw(figure)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert -5 <= low < high <= 105  # room for a point at the end, no more
    for bars in axes.containers:
        for line in bars[2]:
            for segment in line.get_segments():
                assert all(-1e-9 <= y <= 100 + 1e-9 for _, y in segment)
    for point, values in zip(points, scores, strict=True):
        assert low <= sum(values) / 3 <= high, point.name


def test_a_hundred_backbones_of_hostile_names_can_be_drawn_and_read() -> None:
    points = [priced(f"{HOSTILE}{i}", i % 7, float(i % 90)) for i in range(100)]
    draw = draw_front(
        points, standings(points, (0,)), seeds=(0,), asked=1, x="x", y="y", shown=lambda cost: cost
    )
    axes = drawn(Plot(caption="", alt="", draw=draw, size=(8, height_for(100, least=4)))).axes[0]
    named = [text for text in axes.texts if text.get_text()]
    assert len(named) == 40
    assert min(text.get_fontsize() for text in named) >= 8
    lines = [text.get_window_extent() for text in named]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(lines))
