"""Whether upstream predicts downstream: ranks, intervals, and what cannot be said."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from scipy.stats import kendalltau

from eval.image_bootstrap import ImageBootstrap
from eval.intervals import Interval
from eval.records import Record, TaskName
from eval.sections.common_seeds import common_seeds
from eval.sections.material import Material
from eval.sections.scatter import MOST_LABELS, spread
from eval.sections.section import Grid, Paragraph, Plot, Section
from eval.sections.upstream_downstream import section
from eval.sections.upstream_plots import Point, draw_named, draw_panels
from eval.summary import RowName, make_table
from tests.eval.drawn_by_image import DrawnByImage

Make = Callable[..., Record]
TASK_OF = {"top1": "classification", "mAP": "detection", "mIoU": "segmentation"}


@pytest.fixture
def make_material(make_record: Make) -> Callable[..., Material]:
    """make_material({"resnet50d_a": {"top1": [50.0, 51.0], ...}}): a value for each seed."""

    def make(
        scores: dict[str, dict[str, list[float | None]]],
        *,
        benchmark: str = "mini",
        statuses: dict[str, str] | None = None,
    ) -> Material:
        records = []
        for backbone, metrics in scores.items():
            by_task: dict[tuple[str, int], dict[str, float | None]] = {}
            for metric, values in metrics.items():
                for seed, value in enumerate(values):
                    task = TASK_OF.get(metric, "probes")
                    by_task.setdefault((task, seed), {})[metric] = value
            for (task, seed), found in by_task.items():
                records.append(
                    make_record(
                        backbone,
                        task=task,
                        seed=seed,
                        metrics=found,
                        benchmark=benchmark,
                        status=(statuses or {}).get(backbone, "ok"),
                    )
                )
        rows = [
            RowName(
                backbone=name,
                control=None if name.startswith("scratch:") else "scratch:resnet50d",
            )
            for name in scores
        ]
        seeds = sorted({record.seed for record in records})
        tasks: tuple[TaskName, ...] = ("detection", "segmentation", "probes")
        table = make_table(records, benchmark=benchmark, rows=rows, seeds=seeds, tasks=tasks)
        return Material(table=table, records=tuple(records), evidence=lambda record: None)

    return make


def made(material: Material) -> Section:
    found = section(material)
    assert found is not None
    return found


def grids(found: Section) -> list[Grid]:
    return [block for block in found.blocks if isinstance(block, Grid)]


def words(found: Section) -> str:
    texts = [found.lead, *found.left_out]
    texts += [block.text for block in found.blocks if isinstance(block, Paragraph)]
    return "\n".join(texts)


def drawn(found: Section) -> None:
    from matplotlib.figure import Figure

    for block in found.blocks:
        if isinstance(block, Plot):
            figure = Figure(figsize=block.size)
            block.draw(figure)
            figure.canvas.draw()


def row_of(grid: Grid, name: str, *more: str) -> list[str]:
    (row,) = [
        [cell.text for cell in row]
        for row in grid.rows
        if [cell.text for cell in row[: 1 + len(more)]] == [name, *more]
    ]
    return row


def test_taus_are_those_of_scipy_over_means_of_seeds(make_material: Any) -> None:
    top1 = [[50.0, 52.0], [55.0, 53.0], [57.0, 57.0], [60.0, 61.0], [58.0, 62.0], [70.0, 40.0]]
    mean_ap = [[20.0, 21.0], [25.0, 20.0], [22.0, 30.0], [28.0, 27.0], [40.0, 41.0], [30.0, 30.0]]
    names = [f"resnet50d_{letter}" for letter in "abcdef"]
    scores = {
        name: {"top1": x, "mAP": y, "knn": [80 - v for v in y]}
        for name, x, y in zip(names, top1, mean_ap, strict=True)
    }
    scores["scratch:resnet50d"] = {"mAP": [5.0, 6.0], "knn": [90.0, 91.0]}
    found = made(make_material(scores))
    grid = grids(found)[0]
    expected = kendalltau([sum(x) for x in top1], [sum(y) for y in mean_ap])
    said = row_of(grid, "top-1", "mAP")
    assert said[2] == f"{expected.statistic:+.2f}"
    assert said[4:6] == ["6", "2"]  # rows and seeds
    assert said[8] == "–"  # a control has no top-1
    knn = row_of(grid, "k-NN", "mAP")
    assert knn[2] == "-1.00"
    assert knn[8].startswith("-1.00 [")  # the control is the worst by mAP, the best by k-NN
    perfect = kendalltau(range(6), range(6)).pvalue
    corrected = sorted([perfect * 2, max(perfect * 2, expected.pvalue)])
    assert float(knn[6]) == pytest.approx(corrected[0], rel=0.05)  # shown with two digits
    assert float(said[6]) == pytest.approx(corrected[1], rel=0.05)  # shown with two digits
    assert (knn[7], said[7]) == ("the other way round", "no evidence")
    drawn(found)


def test_the_lead_says_how_surely(make_material: Any) -> None:
    names = [f"resnet50d_{index}" for index in range(8)]
    order = [3, 1, 4, 0, 6, 2, 7, 5]
    found = made(
        make_material(
            {
                name: {"top1": [50.0 + i], "mAP": [20.0 + 2 * i], "mIoU": [30.0 + order[i]]}
                for i, name in enumerate(names)
            }
        )
    )
    assert "Top-1 predicts mAP here: Kendall's tau +1.00 [" in found.lead
    assert "over 8 backbones" in found.lead
    assert "no evidence that top-1 predicts mIoU" in found.lead
    assert any("--tasks probes" in text for text in found.left_out)


def test_ranks_that_run_against_each_other_are_no_prediction(make_material: Any) -> None:
    scores = {f"resnet50d_{i}": {"top1": [50.0 + i], "mAP": [40.0 - i]} for i in range(8)}
    assert "Top-1 ranks backbones against mAP here" in made(make_material(scores)).lead


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_backbones_rank_nothing_and_the_section_says_so(make_material: Any, count: int) -> None:
    scores = {f"resnet50d_{i}": {"top1": [50.0 + i], "mAP": [20.0 + i]} for i in range(count)}
    found = made(make_material(scores))
    assert "cannot be said" in found.lead
    assert any(f"{count} pretrained backbone" in text for text in found.left_out)
    assert any("The paper's finding" in text for text in found.left_out)
    assert grids(found) == []
    drawn(found)


def test_no_variance_is_said_and_draws(make_material: Any) -> None:
    scores = {f"resnet50d_{i}": {"top1": [50.0, 50.0], "mAP": [20.0, 20.0]} for i in range(5)}
    found = made(make_material(scores))
    assert "do not differ" in found.lead
    drawn(found)


def test_nothing_to_say_makes_no_section(make_material: Any) -> None:
    assert section(make_material({})) is None
    assert section(make_material({"resnet50d_a": {"top1": [50.0]}})) is None
    assert section(make_material({"resnet50d_a": {"mAP": [50.0]}})) is None


def test_a_run_without_a_number_is_left_out(make_material: Any) -> None:
    scores: dict[str, Any] = {
        f"resnet50d_{i}": {"top1": [50.0 + i], "mAP": [20.0 + i]} for i in range(5)
    }
    scores["resnet50d_odd"] = {"top1": [99.0], "mAP": [None]}
    assert row_of(grids(made(make_material(scores)))[0], "top-1", "mAP")[4] == "5"
    scores["resnet50d_0"] = {"top1": [1.0], "mAP": [99.0]}  # would turn the ranks over
    diverged = make_material(scores, statuses={"resnet50d_0": "diverged"})
    said = row_of(grids(made(diverged))[0], "top-1", "mAP")
    assert (said[2], said[4]) == ("+1.00", "4")
    assert said[7] == "no evidence"  # of four rows there is no interval


def test_ranks_are_of_the_same_seeds(make_material: Any) -> None:
    """Each row's score rises from seed to seed, so that a row of seed 0 alone would rank last."""
    scores: dict[str, Any] = {
        f"resnet50d_{i}": {"top1": [i, 30.0 + i, 60.0 + i], "mAP": [i, 20.0 + i, 40.0 + i]}
        for i in range(6)
    }
    scores["resnet50d_9"] = {"top1": [9.0], "mAP": [9.0]}
    scores["resnet50d_mixed"] = {"top1": [99.0, 99.0, 99.0], "mAP": [1.0]}
    scores["scratch:resnet50d"] = {"mAP": [1.0, 2.0, 3.0]}
    found = made(make_material(scores))
    said = row_of(grids(found)[0], "top-1", "mAP")
    assert (said[2], said[4], said[5]) == ("+1.00", "6", "3")
    assert "over 6 backbones, 3 seeds each, without resnet50d_9, resnet50d_mixed" in found.lead
    (told,) = [text for text in found.left_out if "resnet50d_9 (1 of 3 seeds)" in text]
    assert "fewer" not in told
    drawn(found)


def test_the_seeds_in_common_are_those_of_most_scores() -> None:
    assert common_seeds({}) == ()
    assert common_seeds({"a": [], "b": [4]}) == (4,)
    assert common_seeds({"a": [0, 1, 2], "b": [2, 1, 0], "c": [0]}) == (0, 1, 2)
    # Two seeds of nine rows are more than three of one.
    assert common_seeds({"x": [0, 1, 2], **{str(i): [0, 1] for i in range(9)}}) == (0, 1)
    assert common_seeds({"a": [0, 1], "b": [1, 2]}) == (1,)  # both, rather than one alone


def test_hostile_names_draw_and_many_points_are_not_all_named(make_material: Any) -> None:
    from matplotlib.figure import Figure

    scores = {
        f"resnet50d_$\\frac{{{i}}}$\n<b>\u202e": {"top1": [30.0 + i], "mAP": [20.0], "knn": [1.0]}
        for i in range(60)
    }
    found = made(make_material(scores))
    (plot,) = [b for b in found.blocks if isinstance(b, Plot) and "named" in b.caption]
    figure = Figure(figsize=plot.size)
    plot.draw(figure)
    figure.canvas.draw()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(texts) == MOST_LABELS
    assert not any("\n" in text or "\u202e" in text for text in texts)
    drawn(found)


def test_on_a_telephone_the_panels_stand_below_each_other(make_material: Any) -> None:
    from matplotlib.figure import Figure

    probes = ("linear_probe", "knn", "few_shot_1", "few_shot_5")
    scores = {
        f"resnet50d_{index}{'_of_a_long_name' * 3}": {
            "mAP": [20.0 + index], **{probe: [50.0 + 2 * index] for probe in probes}
        }
        for index in range(8)
    }  # fmt: skip
    (plot,) = [b for b in made(make_material(scores)).blocks if isinstance(b, Plot)]
    assert plot.narrow is not None
    for size, columns in ((plot.size, 3), (plot.narrow, 1)):
        figure = Figure(figsize=size, layout="constrained")
        plot.draw(figure)
        figure.canvas.draw()
        panels = [axes for axes in figure.axes if axes.get_xlabel()]
        assert len(panels) == 4
        assert len({round(axes.get_position().x0, 2) for axes in panels}) == columns
        assert all(axes.get_window_extent().width >= 140 for axes in panels)  # at 100 dpi
        names = [text for axes in figure.axes for text in axes.texts]
        assert max(name.get_window_extent().x1 for name in names) <= 100 * size[0]


def test_error_bars_go_both_ways() -> None:
    from matplotlib.figure import Figure

    x = Interval(mean=50.0, std=1.0, n=3, ci95=(48.0, 52.0))
    y = Interval(mean=20.0, std=1.0, n=3, ci95=(17.0, 23.0))
    point = Point(backbone="a", number=7, control=False, x=x, y=y)
    for draw in (draw_named([point], x="top-1", y="mAP"), draw_panels({"k": [point]}, y="mAP")):
        figure = Figure()
        draw(figure)
        (bars,) = figure.axes[0].containers
        ends = [segment.tolist() for line in bars[2] for segment in line.get_segments()]
        assert sorted(ends) == [[[48, 20], [52, 20]], [[50, 17], [50, 23]]]
        low, high = figure.axes[0].get_ylim()
        assert low < 20 < high


def test_names_beside_a_plot_keep_apart_and_in_order() -> None:
    assert spread([0.9, 0.5, 0.1], apart=0.1) == [0.9, 0.5, 0.1]
    assert spread([0.5, 0.5, 0.5], apart=0.1) == pytest.approx([0.5, 0.4, 0.3])
    assert spread([0.0, 0.0, 0.0], apart=0.1) == pytest.approx([0.2, 0.1, 0.0])
    crowded = spread([0.3] * 40, apart=0.1)
    assert crowded[0] <= 1
    assert crowded[-1] >= -1e-9
    assert [a - b for a, b in itertools.pairwise(crowded)] == pytest.approx([1 / 40] * 39)


def test_the_papers_finding_holds_where_it_helps_one_and_costs_the_other(
    make_material: Any,
) -> None:
    found = made(
        make_material(
            {
                "resnet50d_cosine": {
                    "top1": [1, 1, 1, 1],
                    "mAP": [30, 31, 32, 33],
                    "mIoU": [50] * 4,
                },
                "resnet50d_smooth": {
                    "top1": [1, 1, 1, 1],
                    "mAP": [33, 34.1, 35, 36.1],
                    "mIoU": [47, 47.1, 47, 46.9],
                },
                "resnet50d_mixup": {
                    "top1": [1, 1, 1, 1],
                    "mAP": [33, 34.2, 35.1, 36],
                    "mIoU": [52, 52.1, 52.2, 51.9],
                },
            },
        )
    )
    said = words(found)
    assert "for label smoothing it holds here (it helps mAP and costs mIoU)" in said
    assert "for mixup it does not hold here (it helps mIoU)" in said
    assert "for distillation it cannot be said" in said
    assert "another one than the paper's" in said
    table = grids(found)[-1]
    assert row_of(table, "label smoothing", "mAP")[2] == "+3.05"  # (3 + 3.1 + 3 + 3.1) / 4
    assert row_of(table, "mixup", "mIoU")[4:] == [
        "4",
        row_of(table, "mixup", "mIoU")[5],
        "helps",
        "1",
    ]
    assert row_of(table, "distillation", "mAP")[2:] == ["–"] * 4 + ["not measured", "0"]
    assert any("more epochs" in note for note in table.notes)


def test_rows_that_differ_by_more_than_the_trick_are_no_pair(make_material: Any) -> None:
    """From distill to mixup_distill the teacher changes too; from cosine to mixup the smoothing."""
    scores = {
        f"resnet50d_{name}": {"top1": [1.0, 2.0], "mAP": [30.0, 31.0]}
        for name in ("cosine", "distill", "mixup", "mixup_distill")
    }
    table = grids(made(make_material(scores)))[-1]
    detail = {row[0].text: row[-1].detail for row in table.rows if row[1].text == "mAP"}
    assert detail["mixup"] == ""
    assert detail["label smoothing"] == ""
    assert detail["distillation"] == "resnet50d_mixup_distill − resnet50d_mixup"


def test_of_the_papers_own_benchmark_no_other_is_spoken_of(make_material: Any) -> None:
    material = make_material(
        {
            "resnet50d_cosine": {"top1": [1.0, 1], "mAP": [30.0, 30]},
            "resnet50d_smooth": {"top1": [1.0, 1], "mAP": [31.0, 30]},
        },
        benchmark="paper",
    )
    said = words(made(material))
    assert "label smoothing it cannot be said (mAP: no evidence of a difference (+0.5)" in said
    assert "another one" not in said


def test_one_seed_is_no_evidence(make_material: Any) -> None:
    material = make_material(
        {
            "resnet50d_cosine": {"top1": [1.0], "mAP": [30.0], "mIoU": [10.0]},
            "resnet50d_smooth": {"top1": [1.0], "mAP": [39.0], "mIoU": [1.0]},
        },
    )
    said = words(made(material))
    assert "mAP: +9.0 with one seed: not tested" in said
    assert "label smoothing it cannot be said" in said


def test_one_seed_is_tested_over_its_images_and_corrected(make_material: Any) -> None:
    """p is 0.02 of each: twice 0.02 is evidence, and three tests would be none."""
    drawn = DrawnByImage(0.02)
    scores: dict[str, dict[str, list[float]]] = {
        "resnet50d_cosine": {"top1": [1.0], "mAP": [30.0], "mIoU": [10.0]},
        "resnet50d_smooth": {"top1": [1.0], "mAP": [39.0], "mIoU": [1.0]},
    }
    material = make_material(scores)
    found = made(replace(material, bootstrap=cast(ImageBootstrap, drawn)))
    assert "label smoothing it holds here (it helps mAP and costs mIoU)" in words(found)
    assert row_of(grids(found)[-1], "label smoothing", "mAP")[5:7] == ["0.040", "helps"]
    assert drawn.asked == {
        ("mAP", "resnet50d_smooth", "resnet50d_cosine"),
        ("mIoU", "resnet50d_smooth", "resnet50d_cosine"),
    }
    drawn = DrawnByImage(0.03)
    found = made(replace(material, bootstrap=cast(ImageBootstrap, drawn)))
    assert "mAP: no evidence of a difference (+9.0)" in words(found)
    drawn.images.discard("resnet50d_cosine")  # of which nothing was kept
    found = made(replace(material, bootstrap=cast(ImageBootstrap, drawn)))
    assert "mAP: +9.0 with one seed: not tested" in words(found)


def test_the_same_difference_in_every_seed_has_nothing_to_be_judged_by(make_material: Any) -> None:
    material = make_material(
        {
            "resnet50d_cosine": {"top1": [1.0, 1.0], "mAP": [30.0, 31.0]},
            "resnet50d_smooth": {"top1": [1.0, 1.0], "mAP": [32.0, 33.0]},
        },
    )
    assert "mAP: +2.0 in every seed, so no spread to judge it by" in words(made(material))


def test_many_rows_do_not_make_the_section_long(make_material: Any) -> None:
    scores = {
        f"resnet50d_{i}": {"top1": [math.sin(i) + 50], "mAP": [math.cos(i) + 50]}
        for i in range(490)
    }
    found = made(make_material(scores))
    drawn(found)
    assert "489" not in json.dumps(found.left_out)
    assert len(found.left_out) < 10
