"""Tricks and recipes from a file of the user's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from classification.recipes import RECIPES
from classification.tricks import TRICKS
from eval.cli import main

ROOT = Path(__file__).parents[2]

GOOD = """
from dataclasses import dataclass

from classification.recipes import RECIPES as ours
from classification.tricks import Card, CutMix, Mixup, Trick


@dataclass(frozen=True)
class Louder(Trick):
    gain: float = 2.0

    name = "louder"
    kind = "mixing"
    card = Card(paper="A note of ours", section="page 1", effect="unknown")

    def transform_batch(self, images, targets, rng):
        return images * self.gain, targets


RECIPES = {
    "cutmix": ours["mixup"] - Mixup | CutMix(1.0),
    "louder": ours["standard"] | Louder(GAIN),
}
"""


@pytest.fixture
def trickle(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process of its own, which a file of recipes changes."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from eval.cli import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True
        )

    return run


def write(path: Path, text: str) -> str:
    path.write_text(text.replace("GAIN", "3.0"))
    return str(path)


def test_its_names_are_as_good_as_ours(
    trickle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file = write(tmp_path / "mine.py", GOOD)
    listing = json.loads(trickle("list", "--recipes", file, "--json").stdout)
    assert {"cutmix", "louder", "mixup"} <= set(listing["recipes"])
    assert "louder" in {trick["name"] for trick in listing["tricks"]}

    shown = json.loads(trickle("show", "resnet50d_louder", "--recipes", file, "--json").stdout)
    assert shown["tricks"]["louder"]["gain"] == 3.0
    dry = trickle("run", "--backbone", "resnet50d_cutmix", "--recipes", file, "--dry-run")
    assert dry.returncode == 0
    assert "pretraining   resnet50d_cutmix" in dry.stdout


def test_without_the_file_its_names_are_unknown(
    trickle: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    answer = trickle("show", "resnet50d_louder")
    assert answer.returncode == 2
    assert "louder" in answer.stderr


def test_another_code_of_a_trick_is_another_recipe(
    trickle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    digests = []
    for text in (GOOD, GOOD, GOOD.replace("images * self.gain", "images + self.gain")):
        file = write(tmp_path / "mine.py", text)
        shown = trickle("show", "resnet50d_louder", "--recipes", file, "--json")
        digests.append(json.loads(shown.stdout)["tricks"]["louder"]["source_digest"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no RECIPES"),
        ("RECIPES = {}", "defines no RECIPES"),
        ("x = (", "line 1"),
        ("x = 1\nx.y", "line 2: AttributeError"),
        ("RECIPES = {'a b': 1}", "cannot name a recipe"),
        ("RECIPES = {'mine': 1}", "not a Recipe"),
        ("from classification.recipes import RECIPES", "'standard' already"),
        (
            "from classification.recipe import Recipe\n"
            "from classification.tricks import Epochs\n"
            "RECIPES = {'short': Recipe() | Epochs(50)}",
            "milestones",
        ),
        (
            "from classification.recipe import Recipe\n"
            "from classification.tricks import LabelSmoothing\n"
            "RECIPES = {'mine': Recipe() | LabelSmoothing(1.5)}",
            "line 3: ValueError: epsilon",
        ),
        (GOOD.replace('"louder"\n', '"mixup"\n').replace("GAIN", "1.0"), "'mixup' already"),
        (GOOD.replace("    card = ", "    cart = ").replace("GAIN", "1.0"), "needs a name"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_nothing_is_taken_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file, before = write(tmp_path / "mine.py", text), (dict(RECIPES), dict(TRICKS))
    assert main(["list", "--recipes", file]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert file in err
    assert before == (RECIPES, TRICKS)


def test_a_missing_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--recipes", str(tmp_path / "none.py")]) == 2
    assert "no file of recipes" in capsys.readouterr().err


def test_recipes_of_fine_tuning_stand_behind_the_sign(
    trickle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file = tmp_path / "tuning.py"
    file.write_text(
        "from classification.recipes import FINE_TUNINGS as ours\n"
        "from classification.tricks import Mixup\n"
        'FINE_TUNINGS = {"mixed": ours["finetune"] | Mixup(0.2)}\n'
    )
    shown = trickle("show", "resnet18d_cosine~mixed-flips", "--recipes", str(file), "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["tricks"]["mixup"] == {"alpha": 0.2}
    assert "flips" not in found["tricks"]
    assert str(file) in found["command"]
    file.write_text(
        "from classification.recipes import RECIPES as ours\n"
        "from classification.tricks import LayerDecay\n"
        'RECIPES = {"wrong": ours["standard"] | LayerDecay()}\n'
    )
    refused = trickle("list", "--recipes", str(file))
    assert refused.returncode == 2
    assert "layer_decay is a trick of fine-tuning" in refused.stderr
