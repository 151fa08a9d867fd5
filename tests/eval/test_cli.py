"""The command line: its flags are frozen, its exit codes kept, and its answers quick."""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import pytest

from backbones.catalog import ARCHITECTURES
from classification.recipes import RECIPES
from classification.tricks import TRICKS
from eval.arguments import make_parser, make_transfer_parser
from eval.cli import main
from eval.page.plots import plot_svg

SCRIPT = Path(__file__).resolve().parents[2] / "eval" / "run_transfer.py"
HEAVY = ("torch", "torchvision", "timm", "mmengine", "mmdet", "numpy", "scipy")
NEVER_FOR_HELP = (*HEAVY, "pydantic", "rich", "multiprocessing", "classification.recipes")
NEVER_FOR_LISTS = (*HEAVY, "pydantic", "rich", "multiprocessing", "eval.transfer")


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def run(self, *arguments: str, **behavior: str) -> tuple[int, str, str]: ...


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings}


def test_the_flags_are_frozen() -> None:
    """Users' scripts depend on them: a change here is a change of the contract."""
    of_all = {"--tolerate", "--full", "--auto-accumulate", "--track"}
    of_all |= {"--ablate", "--ablation", "--permutations"}
    assert flags(make_transfer_parser()) == {
        "-h",
        "--help",
        "--backbone",
        "--benchmark",
        "--tasks",
        "--seeds",
        "--out",
        "--executor",
        "--ray-address",
        "--storage",
        "--slurm-partition",
        "--slurm-time",
        "--slurm-gpus",
        "--slurm-cpus",
        "--slurm-set",
        "--baseline",
        "--dry-run",
        "--list",
        "--json",
        "--recipes",
        *of_all,
    }
    (verbs,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    parsers: dict[str, argparse.ArgumentParser] = dict(verbs.choices)
    names = {"run", "pretrain", "list", "show", "report", "validate", "prepare", "doctor"}
    assert set(parsers) == names | {"export", "finetune"}
    of_folder = {"--unlabelled", "--recipe", "--folds", "--image-size"}
    not_of_folder = {"--benchmark", "--tasks", "--baseline", "--list", "--json"}
    not_of_folder |= {"--ablate", "--ablation", "--permutations"}
    assert flags(parsers["finetune"]) == flags(parsers["run"]) - not_of_folder | of_folder
    assert flags(parsers["export"]) == {"-h", "--help", "--to", "--out"}
    assert flags(parsers["prepare"]) == {"-h", "--help", "--from", "--to"}
    assert flags(parsers["run"]) == flags(make_transfer_parser())
    assert flags(parsers["pretrain"]) == {
        "-h",
        "--help",
        "--backbone",
        "--benchmark",
        "--seeds",
        "--out",
        "--dry-run",
        "--recipes",
        *of_all,
    }
    assert flags(parsers["list"]) == {"-h", "--help", "--json", "--tricks", "--recipes"}
    assert flags(parsers["show"]) == {"-h", "--help", "--json", "--benchmark", "--recipes"}
    of_report = {"--out", "--benchmark", "--protocol", "--baseline"}
    assert flags(parsers["report"]) == {"-h", "--help", *of_report}
    assert flags(parsers["doctor"]) == {"-h", "--help", "--json", "--out", "--benchmark"}
    own = {"--json", "--workers", "--tolerate", "--full"}
    assert flags(parsers["validate"]) == {"-h", "--help", *own}


def script(*arguments: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """What came of it, and the seconds of computing that it took: those on the clock depend on
    what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backbone", "resnet50d_mixp"], "mixup"),
        (["--backbone", "resnet50d_mixup", "--benchmark", "mni"], "mini"),
        (["--backbone", "timm:resnet50@none.pth"], "none.pth"),
    ],
)
def test_an_unknown_name_is_answered_within_a_second(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    done, seconds = script(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert seconds < 1.5  # on a quiet machine half of that
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        pytest.param(["--help"], NEVER_FOR_HELP, id="help"),
        pytest.param(["--tasks", "tracking"], NEVER_FOR_HELP, id="wrong choice"),
        pytest.param(["--list"], NEVER_FOR_LISTS, id="list"),
        pytest.param(["--list", "--json"], NEVER_FOR_LISTS, id="json"),
        pytest.param(["--backbone", "nothing"], HEAVY, id="unknown"),
        pytest.param([], HEAVY, id="nothing"),
    ],
)
def test_nothing_heavy_is_imported_for_a_quick_answer(
    arguments: list[str], never: tuple[str, ...]
) -> None:
    code = (
        "import sys\nfrom eval.cli import transfer_main\n"
        f"try:\n    transfer_main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"assert not set({never!r}) & set(sys.modules), sorted(set({never!r}) & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SCRIPT.parents[1]
    )
    assert done.returncode == 0, done.stderr


def test_the_list_as_json(tmp_path: Path) -> None:
    done, _ = script("--list", "--json", cwd=tmp_path)
    listing = json.loads(done.stdout)
    assert listing["architectures"] == list(ARCHITECTURES)
    assert listing["recipes"] == list(RECIPES)
    assert {trick["name"] for trick in listing["tricks"]} == set(TRICKS)
    assert all(
        re.search(r"\b(19|20)\d\d\b", t["source"]) or "documentation" in t["source"]
        for t in listing["tricks"]
    )
    assert listing["benchmarks"] == ["mini", "paper", "coco", "cityscapes"]


def test_the_list_for_reading_has_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in (*ARCHITECTURES, *RECIPES, *TRICKS, "mini", "paper"):
        assert name in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--backbone"],
        ["--backbone", "resnet50d_mixup", "--seeds", "-1"],
        ["--backbone", "resnet50d_mixup", "--seeds", "one"],
        ["--backbone", "resnet50d_mixup", "--tasks", "tracking"],
        ["--backbone", "resnet50d_mixup", "--executor", "cloud"],
        ["--backbone", "resnet50d_mixup", "--json"],
        ["--back", "resnet50d_mixup"],
        ["--backbone", "resnet50d_mixup", "--out", "a_file"],
    ],
)
def test_wrong_usage_gives_2_and_a_line(stages: Stages, arguments: list[str]) -> None:
    (stages.folder / "a_file").write_text("")
    try:
        code, _, err = stages.run(*arguments)
    except SystemExit as error:  # argparse's way
        code, err = int(str(error.code)), "error"
    assert code == 2
    assert "error" in err
    assert stages.calls == []


def test_a_dry_run_writes_nothing(stages: Stages) -> None:
    code, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert code == 0
    assert out.count("to do") == 6
    assert list(stages.folder.iterdir()) == []
    stages.run("--backbone", "resnet50d_mixup")
    before = sorted(stages.folder.rglob("*"))
    _, out, _ = stages.run("--backbone", "resnet50d_mixup", "--seeds", "0", "1", "--dry-run")
    assert (out.count("to do"), out.count("  done ")) == (6, 6)
    assert sorted(stages.folder.rglob("*")) == before


def test_a_dry_run_before_the_data_is_there_says_so(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["benchmarks.prepare"], "find_ready", lambda *_, **__: None)
    code, out, _ = stages.run("--backbone", "resnet50d_mixup", "--dry-run")
    assert code == 0
    assert "data set will be rendered first" in out
    assert out.count("to do") == 6


def test_missing_data_gives_2_before_any_training(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(benchmark: object, **_: object) -> Any:
        raise ValueError("no folder /data/imagenet; it should hold train/ and val/")

    monkeypatch.setattr(sys.modules["benchmarks.prepare"], "ensure_ready", missing)
    code, _, err = stages.run("--backbone", "resnet50d_mixup")
    assert code == 2
    assert "/data/imagenet" in err
    assert stages.calls == []


def test_seeds_and_tasks_are_what_runs(stages: Stages) -> None:
    ask = ["--backbone", "resnet50d_mixup", "--tasks", "segmentation", "--seeds", "3", "4"]
    assert stages.run(*ask)[0] == 0
    content = json.loads((stages.folder / "runs" / "mini" / "table.json").read_text())
    score = content["rows"][0]["metrics"]["mIoU"]
    # The fake stage reports 30 + 2 seed, and 20 + seed for random weights.
    assert (score["mean"], score["n"], score["delta"]) == (37.0, 2, 13.5)
    assert content["rows"][0]["metrics"]["mAP"] is None
    assert not [call for call in stages.calls if call.startswith("detection")]


def test_a_report_is_the_table_of_the_run(stages: Stages, monkeypatch: Any) -> None:
    """And its page shows plots, which other tests of this folder leave out."""
    monkeypatch.setattr("eval.page.page.plot_svg", plot_svg)
    stages.run("--backbone", "resnet50d_mixup", "resnet18b_cosine", "--seeds", "0", "1")
    folder = stages.folder / "runs" / "mini"
    before = {path.name: path.read_bytes() for path in folder.glob("table.*")}
    for name in before:
        (folder / name).unlink()
    assert main(["report"]) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("table.*")} == before
    assert (folder / "report.html").read_text().count("</svg>") >= 4


def test_a_report_of_nothing_gives_2(stages: Stages) -> None:
    assert main(["report", "--out", "nowhere"]) == 2
    assert not (stages.folder / "nowhere").exists()


def test_pretrain_makes_artifacts_and_nothing_more(stages: Stages) -> None:
    assert main(["pretrain", "--backbone", "resnet50d_distill", "--out", "out"]) == 0
    assert [call.split("-")[1] for call in stages.calls] == [
        "resnet152d_smooth",
        "resnet50d_distill",
    ]
    content = json.loads((stages.folder / "out" / "table.json").read_text())
    assert [row["backbone"] for row in content["rows"]] == ["resnet50d_distill"]
    assert main(["pretrain", "--backbone", "scratch:resnet50d", "--out", "out"]) == 2
