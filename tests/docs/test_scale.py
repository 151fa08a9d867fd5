"""docs/scale.md and the README: what they tell to type exists, and their numbers are those of the
sources that they name."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from benchmarks.packaged import PACKAGED
from eval.arguments import make_parser
from tests.docs.worked_examples import ROOT, blocks, commands

PAGE = (ROOT / "docs/scale.md").read_text()
README = (ROOT / "README.md").read_text()


def words_of(command: str) -> tuple[dict[str, str], list[str]]:
    """The variables that are set before a command, and its words."""
    words = shlex.split(command, comments=True)
    count = next((i for i, word in enumerate(words) if "=" not in word), len(words))
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def shown_in_readme() -> Iterator[str]:
    """Lines that are indented as code and call one of our programs."""
    for line in README.splitlines():
        if re.match(r"    (\w+=\S+ )?(trickle|torchrun|python eval/run_transfer.py) ", line):
            yield line.strip()


def rayjob() -> dict[str, Any]:
    (text,) = blocks(PAGE, "yaml")
    made: dict[str, Any] = yaml.safe_load(text)
    return made


def parses(words: list[str]) -> None:
    """With the program's own parser, which ends the test where it would end the program."""
    program, arguments = words[0], words[1:]
    if program == "trickle":
        parsed = make_parser().parse_args(arguments)
        benchmark = getattr(parsed, "benchmark", None)
        assert benchmark in (None, *PACKAGED) or benchmark.endswith(".toml")
    elif program == "torchrun":
        from torch.distributed.run import get_args_parser

        started = get_args_parser().parse_args(arguments)
        assert started.module
        stage_parses(started.training_script, started.training_script_args)
    else:
        assert program in ("pip", "export", "tensorboard"), f"nothing parses {program}"


def stage_parses(module: str, arguments: list[str]) -> None:
    from classification.pretrain import _arguments as pretraining_arguments
    from engine.finetuning import finetuning_arguments

    if module == "classification.pretrain":
        pretraining_arguments(arguments)
    else:
        assert module in ("detection.finetune", "segmentation.finetune")
        finetuning_arguments(None, arguments)


@pytest.mark.parametrize("command", [*commands(PAGE), *shown_in_readme()])
def test_every_command_parses(command: str) -> None:
    if "run_transfer.py" in command:
        command = command.replace("python eval/run_transfer.py", "trickle run")
    parses(words_of(command)[1])


def test_a_wrong_command_does_not_parse() -> None:
    for wrong in ("trickle run --gpus 8", "torchrun -m classification.pretrain --gpus 8"):
        with pytest.raises(SystemExit):
            parses(words_of(wrong)[1])


def test_the_rayjob_is_whole_and_its_entrypoint_parses() -> None:
    spec = rayjob()["spec"]
    parses(words_of(spec["entrypoint"])[1])
    cluster = spec["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in cluster["workerGroupSpecs"]]
    pods.append(cluster["headGroupSpec"]["template"]["spec"])
    for pod in pods:
        (container,) = pod["containers"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        (out,) = re.findall(r"--out (\S+)", spec["entrypoint"])
        assert any(out.startswith(mount["mountPath"]) for mount in container["volumeMounts"])
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_every_variable_and_extra_is_known() -> None:
    known = "".join(file.read_text() for file in ROOT.glob("*/*.py"))
    named = set(re.findall(r"TRICKLE_[A-Z]+", PAGE)) - {"TRICKLE_DATA"}
    assert named
    assert all(f'"{name}"' in known for name in named)
    assert "${TRICKLE_DATA:-" in (ROOT / "benchmarks/paper.toml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"'\.\[(\w+)\]'", PAGE)
    assert extras
    assert set(extras) <= set(project["optional-dependencies"])


def test_hours_are_those_of_the_plan_and_points_the_published_ones() -> None:
    plan = {
        cells[1].strip("`"): cells[4:7]
        for cells in map(row, (ROOT / "docs/performance.md").read_text().splitlines())
        if len(cells) == 7 and not cells[0].startswith("4")
    }
    numbers = json.loads((ROOT / "benchmarks/published.json").read_text())["numbers"]
    published = {
        (number["backbone"], number["metric"]): number["value"]
        for number in numbers
        if number["where"].startswith(("Table 8", "Table 9", "Tables 8 and 9"))
    }
    tuned, own = 0, []
    for cells in map(row, PAGE.splitlines()):
        if len(cells) != 7 or not cells[1].isdigit():
            continue
        name = cells[0].removeprefix("a teacher: ").strip("`")
        if name.startswith("and of each row: "):
            (same,) = [plan[key] for key in plan if key.startswith(name.rpartition(" ")[2])]
            assert cells[1:4] == same
            tuned += int(cells[2])
            continue
        assert cells[1:4] == plan[name]
        own.append(int(cells[2]))
        if not cells[0].startswith("a teacher"):
            for metric, cell in zip(("top1", "mAP", "mIoU"), cells[4:], strict=True):
                assert float(cell) == published[name, metric]
    assert len(own) == 8
    assert f"come to {sum(own) + 6 * tuned} A100-hours" in PAGE


def row(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if "|" in line else []
