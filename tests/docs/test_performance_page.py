"""docs/performance.md: measured ratios beside what was aimed at, hours that follow from sizes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from docs.bench_results import FOLDER, TARGETS, read_benches, results
from docs.growth_figure import FIGURE, draw_growth, is_drawn
from docs.imagenet_plan import Row, fine_tuning, gmacs, hours, images_per_second, rows
from docs.performance_page import PAGE, performance_page, render
from engine.fast_paths import FAST_PATHS, VARIABLE
from eval.gpu_rates import GPUS

MACHINE = {"cpu": "A_B* CPU", "cpu_count": "2", "date": "2026-11-22", "load_average": "0.1"}
VERSIONS = {"torch": "2.14.1", "git_revision": "abc"}


def bench(name: str, ratios: dict[str, float], **raw: Any) -> dict[str, Any]:
    common = {"name": name, "machine": MACHINE, "versions": VERSIONS}
    return {**common, "ratios": ratios, "raw": raw}


def curve(driver: str, **changes: Any) -> dict[str, Any]:
    common = {"driver": driver, "name": f"of {driver}", "unit": "s", "exponent": 1.0, "error": 0.01}
    return {**common, "sizes": [1, 10, 100, 1000], "values": [0.1, 1.0, 10.0, 100.0], **changes}


GROWTH = bench("growth", {}, curves=[curve("images"), curve("seeds", name="tables")])


def cells(page: str) -> list[list[str]]:
    """The cells of all rows, as a reader of the rendered Markdown sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    found: list[list[str]] = []
    for before, token in pairwise(tokens):
        if token.type == "tr_open":
            found.append([])
        if before.type in ("td_open", "th_open"):
            found[-1].append("".join(child.content for child in token.children or ()))
    return found


def line(page: str, *start: str) -> list[str]:
    (found,) = [row for row in cells(page) if tuple(row[: len(start)]) == start]
    return found[len(start) :]


def test_what_was_not_measured_says_so() -> None:
    page = render({})
    for name, targets in TARGETS.items():
        for peer, target in targets.items():
            aimed = "–" if target is None else f"{target:.1f}"
            assert line(page, name, peer) == ["not measured yet", "–", aimed, "–"]
    assert "Nothing has been measured yet: `make bench`" in page


def test_a_ratio_stands_beside_its_quartiles_and_its_target() -> None:
    nested = {"64": {"timm_default": {"ratio": 1.25, "q1": 1.2, "q3": 1.31}}, "timm_default": 7}
    sized = {"timm_crop_flip_224": {"ratio": 2.5, "q1": 2.25, "q3": 3.0}}
    sized["timm_crop_flip_160"] = {"ratio": 4.0, "q1": 4.0, "q3": 4.0}
    seconds = {"trickle": [1.0] * 5, "plain_teacher": [1.0, 2.0, 3.0, 4.0, 5.0]}
    page = render(
        {
            "input": bench("input", {"timm_crop_flip": 2.5}, spread=sized, images_per_second=RATES),
            "train_step": bench("train_step", {"timm_default": 1.25}, **nested),
            "distill": bench("distill", {"plain_teacher": 3.0}, seconds=seconds),
            "cli": bench("cli", {"python_start": 0.5}, medians={}),
        }
    )
    assert line(page, "input", "timm_crop_flip") == ["2.50", "2.25 to 3.00", "2.0", "yes"]
    assert line(page, "train_step", "timm_default") == ["1.25", "1.20 to 1.31", "1.3", "no"]
    # Of 1, 2, 3, 4, 5 as statistics.quantiles has them: 1.5 and 4.5.
    assert line(page, "distill", "plain_teacher") == ["3.00", "1.50 to 4.50", "–", "–"]
    assert line(page, "cli", "python_start") == ["0.50", "–", "–", "–"]
    assert "input, train_step, distill, cli: cpu A_B\\* CPU, cpu count 2, date 2026-11-22" in page
    assert (
        "not measured yet: pretrain_epoch, detection, segmentation, scoring, ray_executor, "
        "frozen_head, growth, report." in page
    )


def test_the_targets_are_those_of_the_contract() -> None:
    """The peers' keys of the design's last section."""
    peers = {
        "input": ["timm_crop_flip", "decode_floor", "torchvision_paper_aug", "timm_randaugment"],
        "train_step": ["timm_default", "timm_best"],
        "distill": ["plain_teacher"],
        "detection": ["mmdet"],
        "segmentation": ["mmseg"],
        "scoring": ["pycocotools", "mmdet_voc", "mmseg_iou"],
    }
    assert {name: list(TARGETS[name]) for name in peers} == peers
    (met,) = [
        r.met
        for r in results({"detection": bench("detection", {"mmdet": 1.2})})
        if r.peer == "mmdet"
    ]
    assert met is True


def test_answers_stand_beside_the_seconds_that_were_aimed_at() -> None:
    medians = {"help": 0.3, "list": 0.301, "python_start": 0.02}
    page = render({"cli": bench("cli", {}, medians=medians)})
    assert line(page, "eval/run_transfer.py --help") == ["0.30", "0.3", "yes"]
    assert line(page, "eval/run_transfer.py --list") == ["0.30", "0.3", "no"]
    (again,) = [row for row in cells(page) if row[0].startswith("make run where")]
    assert again[1:] == ["not measured yet", "2.0", "–"]


def test_every_fast_path_is_named_with_its_switch() -> None:
    page = render({})
    assert f"`{VARIABLE}=all`" in page
    for name, about in FAST_PATHS.items():
        assert line(page, name) == [about]


RATES = {f"trickle_{name}_224": 270.6 for name in ("crop_flip", "paper_aug", "randaugment")}


def test_decoding_cores_follow_from_the_measured_rates() -> None:
    """A V100 takes 541 images a second, so twice what such a core gives."""
    page = render({"input": bench("input", {}, images_per_second=RATES)})
    assert line(page, "RandAugment")[:2] == ["271", "2.0"]
    assert "**assumed**" not in page
    assert "**assumed**: `bench/input.py` has not been run" in render({})


@pytest.mark.parametrize(
    ("architecture", "printed"),
    [("resnet50a", 3.8), ("resnet50b", 4.1), ("resnet50c", 4.3), ("resnet50d", 4.3)],
)
def test_sizes_are_those_of_the_papers_table_5(architecture: str, printed: float) -> None:
    assert gmacs(architecture) == pytest.approx(printed, abs=0.07)


@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("resnet50a_ladder1024_half_precision", 4.4),
        ("resnet50a_ladder256_linear_scaling", 13.3),
        ("inception_v3_efficient", 8.0),
        ("mobilenet_cosine", 3.7),
    ],
)
def test_hours_on_the_papers_gpus_are_the_papers(name: str, minutes: float) -> None:
    """Table 3: minutes of an epoch on 8 V100; 120 epochs."""
    (row,) = [row for row in rows() if row.name == name]
    assert hours(GPUS[0], row) == pytest.approx(minutes / 60 * 8 * 120)


def test_a_teacher_costs_its_forward_pass() -> None:
    by_name = {row.name: row for row in rows()}
    plain, student = by_name["resnet50d_smooth"], by_name["resnet50d_distill"]
    teacher = by_name["resnet152d_smooth"]
    for gpu in GPUS:
        # A forward pass is a third of a training step.
        more = hours(gpu, student) - hours(gpu, plain)
        assert more == pytest.approx(hours(gpu, teacher) / 3)
    assert by_name["mobilenet_mixup_distill"].images == 200 * 1_281_167
    assert len([row for row in rows() if row.table == "6"]) == 18


def test_memory_bandwidth_says_how_much_faster_other_gpus_are() -> None:
    v100, a100, _ = GPUS
    row = Row(table="", name="", images=1e6, gmacs=4.0)
    ratio = images_per_second(a100, row) / images_per_second(v100, row)
    assert ratio == pytest.approx(a100.bandwidth / v100.bandwidth)


def test_heads_of_the_fine_tuning_are_counted_as_modules_are() -> None:
    """Against torch's counter on the layers that the two protocols name."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    detection, segmentation = fine_tuning()
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        c5, c4 = torch.zeros(1, 2048, 64, 64), torch.zeros(1, 1024, 64, 64)
        inner = nn.Conv2d(512, 512, 3, padding=1)(nn.Conv2d(2048, 512, 3, padding=1)(c5))
        joined = nn.Conv2d(2560, 512, 3, padding=1)(torch.cat([c5, inner], dim=1))
        nn.Conv2d(512, 150, 1)(joined)
        nn.Conv2d(256, 150, 1)(nn.Conv2d(1024, 256, 3, padding=1)(c4))
    heads = counter.get_total_flops() / 2e9
    backbone = gmacs("resnet50d", output_stride=8) * 512**2 / 224**2
    assert segmentation.gmacs == pytest.approx(backbone + heads, rel=1e-6)
    assert segmentation.images == 16 * 160_000

    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        for stride, channels in ((4, 256), (8, 512), (16, 1024), (32, 2048), (64, None)):
            level = torch.zeros(1, 256, 600 // stride, 800 // stride)
            if channels is not None:
                nn.Conv2d(channels, 256, 1)(torch.zeros(1, channels, *level.shape[2:]))
                nn.Conv2d(256, 256, 3, padding=1)(level)
            shared = nn.Conv2d(256, 256, 3, padding=1)(level)
            nn.Conv2d(256, 3, 1)(shared)
            nn.Conv2d(256, 12, 1)(shared)
        region = nn.Linear(1024, 1024)(nn.Linear(49 * 256, 1024)(torch.zeros(512, 49 * 256)))
        nn.Linear(1024, 21)(region)
        nn.Linear(1024, 80)(region)
    heads = counter.get_total_flops() / 2e9
    backbone = gmacs("resnet50d") * 600 * 800 / 224**2
    assert detection.gmacs == pytest.approx(backbone + heads, rel=0.01)  # 600 / 32 is no integer


def test_growth_is_a_table_and_a_figure(tmp_path: Path) -> None:
    page = render({"growth": GROWTH})
    assert line(page, "images") == [
        "of images",
        "1, 10, 100, 1,000",
        "0.1, 1, 10, 100",
        "s",
        "1.00 ± 0.01",
    ]
    assert f"]({FIGURE.relative_to('docs').as_posix()})" in page
    file = tmp_path / "growth.png"
    assert not is_drawn(GROWTH, file)
    draw_growth(GROWTH, file)
    assert is_drawn(GROWTH, file)
    assert file.stat().st_size < 60_000
    other = bench("growth", {}, curves=[curve("images", exponent=2.0)])
    assert not is_drawn(other, file)
    file.write_bytes(b"")
    assert not is_drawn(GROWTH, file)


def test_the_page_follows_from_the_files(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    assert performance_page(tmp_path) == {PAGE: render({})}
    (tmp_path / FOLDER / "growth.json").write_text(json.dumps(GROWTH))
    (tmp_path / FOLDER / "unknown.json").write_text("{}")
    assert list(read_benches(tmp_path)) == ["growth"]
    assert (
        performance_page(tmp_path)
        == performance_page(tmp_path)
        == {PAGE: render({"growth": GROWTH})}
    )


def test_the_report_stands_beside_its_budget() -> None:
    assert "`make bench BENCHES=report`" in render({})
    budget = {"records": 500, "seconds": 20.0, "megabytes": 1000.0}
    taken = {"records": 500, "seconds": 12.34, "megabytes": 1200.4, "processor_seconds": 11.0}
    parts = {name: float(n) for n, name in enumerate("abcdefgh")}
    page = render({"report": bench("report", {}, **taken, budget=budget, parts=parts)})
    assert line(page, "seconds", "12.3") == ["20", "yes"]
    assert line(page, "peak memory, MB") == ["1200", "1,000", "no"]
    assert "Of 11.0 s of processor: h 7.0 s, g 6.0 s" in page
    assert "c 2.0 s, all else 1.0 s." in page
