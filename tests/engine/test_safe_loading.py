"""Loading data runs no code, on any path, whatever the environment says."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader
from mmengine.runner import load_checkpoint as mmengine_load_checkpoint
from torch import nn

from backbones import create_backbone, load_artifact, save_artifact
from backbones.obtain import main as obtain
from backbones.weights_file import WeightsError, read_state_dict
from classification.teacher import load_teacher
from engine.checkpoint_file import DamagedCheckpoint, read_checkpoint, write_checkpoint
from engine.runner import QuietRunner
from engine.safe_loading import load_data_only

MakeRunner = Callable[..., QuietRunner]
ROOT = Path(__file__).parents[2]
OURS = ("backbones", "engine", "benchmarks", "classification", "detection", "segmentation", "eval")


class Malicious:
    """Unpickled carelessly, it makes a folder: the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture(params=["plain", "forced"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """torch's switch that turns the safety off, set or not."""
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    if request.param == "forced":
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    return str(request.param)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def weights(tmp_path: Path, canary: Path) -> Path:
    """A .pth that looks like any other."""
    path = tmp_path / "weights.pth"
    linear = nn.Linear(2, 2)
    torch.save({"state_dict": linear.state_dict(), "optimizer": Malicious(canary)}, path)
    return path


@pytest.fixture
def loaders() -> Iterator[None]:
    """mmengine's own loaders come back after the test."""
    before = dict(CheckpointLoader._schemes)
    load_data_only()
    yield
    CheckpointLoader._schemes = before


class Pretrained(BaseModule):
    def __init__(self, checkpoint: str) -> None:
        super().__init__(init_cfg=dict(type="Pretrained", checkpoint=checkpoint))
        self.weight = nn.Parameter(torch.zeros(2, 2))


PATHS: dict[str, Callable[[str], object]] = {
    "read_state_dict": read_state_dict,
    "a teacher's file": lambda path: load_teacher(f"timm:resnet18@{path}", num_classes=1000),
    "CheckpointLoader": CheckpointLoader.load_checkpoint,
    "load_checkpoint": lambda path: mmengine_load_checkpoint(nn.Linear(2, 2), path),
    "Pretrained": lambda path: Pretrained(path).init_weights(),
}


def test_the_canary_would_sing(weights: Path, canary: Path) -> None:
    torch.load(weights, weights_only=False)
    assert canary.exists()


@pytest.mark.reliability(
    5, "A malicious pickle leaves its canary untouched on every load path, upstream's included."
)
@pytest.mark.parametrize("load", PATHS.values(), ids=PATHS)
@pytest.mark.usefixtures("loaders")
def test_a_malicious_file_runs_nothing(
    weights: Path, canary: Path, environment: str, load: Callable[[str], object],
    measured: Callable[[str], None],
) -> None:  # fmt: skip
    with pytest.raises(WeightsError, match=r"weights\.pth") as error:
        load(str(weights))
    assert not canary.exists()
    assert "weights_only=False" not in str(error.value), "torch's advice is not ours"
    assert "Save its tensors alone" in str(error.value)
    if environment == "forced":
        measured("refused, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 included")


@pytest.mark.usefixtures("loaders")
def test_a_benign_file_is_loaded(tmp_path: Path, environment: str) -> None:
    expected = nn.Linear(2, 2).state_dict()
    torch.save({"state_dict": expected, "meta": {"epoch": 3}}, tmp_path / "fine.pth")
    found = nn.Linear(2, 2)
    mmengine_load_checkpoint(found, str(tmp_path / "fine.pth"), strict=True)
    assert torch.equal(found.weight, expected["weight"])


@pytest.mark.reliability(5, "mmengine downloads no weights: each of its schemes is refused.")
@pytest.mark.usefixtures("loaders")
@pytest.mark.parametrize(
    "scheme",
    ["http://", "https://", "torchvision://", "modelzoo://", "open-mmlab://", "openmmlab://",
     "mmcls://", "pavi://", "s3://", "petrel://", "x:s3://"],
)  # fmt: skip
def test_no_scheme_downloads(scheme: str, environment: str) -> None:
    with pytest.raises(WeightsError, match="Download the file"):
        CheckpointLoader.load_checkpoint(f"{scheme}127.0.0.1:9/resnet50")


@pytest.mark.usefixtures("loaders")
def test_no_scheme_is_left_to_upstream() -> None:
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == {
        "engine.safe_loading"
    }


@pytest.mark.usefixtures("loaders")
@pytest.mark.parametrize("suffix", ["pkl", "pickle"])
def test_annotations_are_no_pickles(tmp_path: Path, canary: Path, suffix: str) -> None:
    path = tmp_path / f"annotations.{suffix}"
    path.write_bytes(pickle.dumps(Malicious(canary)))
    with pytest.raises(ValueError, match="can run code"):
        mmengine.load(path)
    assert not canary.exists()


@pytest.mark.reliability(5, "A checkpoint to resume from runs nothing, a crafted one included.")
def test_a_malicious_checkpoint_runs_nothing(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, canary: Path, environment: str
) -> None:
    work_dir = tmp_path / "work"
    make_runner(work_dir, toy(), steps=2).train()
    path = work_dir / "iter_2.safetensors"
    # mmengine's own resume executes meta["config"] as a Python file.
    state = read_checkpoint(path)
    code = "made = __import__('os').mkdir({!r})\n"
    with pytest.raises(FileExistsError):
        Config.fromstring(code.format(str(work_dir)), file_format=".py")
    state["meta"]["config"] = code.format(str(canary))
    write_checkpoint(path, state)
    make_runner(work_dir, toy(), steps=4).train()
    # A pickle under a checkpoint's name, and under mmengine's.
    torch.save({"meta": Malicious(canary)}, work_dir / "iter_9.safetensors")
    torch.save({"meta": Malicious(canary)}, work_dir / "iter_9.pth")
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(work_dir / "iter_9.safetensors")
    make_runner(work_dir, toy(), steps=6).train()
    assert not canary.exists()


def test_an_artifact_with_a_pickle_runs_nothing(
    tmp_path: Path, canary: Path, environment: str
) -> None:
    directory = tmp_path / "artifact"
    save_artifact(directory, create_backbone("resnet18d", width=0.125), {"weights": "random"})
    weights = directory / "model.safetensors"
    torch.save(Malicious(canary), weights)
    card = json.loads((directory / "card.json").read_text())
    card.pop("checksum", None)
    card["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (directory / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_artifact(directory)
    assert not canary.exists()


def test_obtaining_weights_runs_nothing(weights: Path, tmp_path: Path, canary: Path) -> None:
    arguments = ["--backbone", f"timm:resnet18@{weights}", "--artifact", str(tmp_path / "a")]
    assert obtain(arguments) != 0
    assert not canary.exists()


FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
# The one door for code of the user's, who names the file.
CODE_OF_THE_USER = "classification/recipes/user_file.py"


def violations(file: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            if FORBIDDEN_MODULES & {module.partition(".")[0] for module in modules}:
                yield f"{where}: imports {', '.join(modules)}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in FORBIDDEN_CALLS:
            yield f"{where}: {called}"
        if called in ("torch.load", "torch.hub.load_state_dict_from_url") and (
            options.get("weights_only") != "True"
        ):
            yield f"{where}: {called} without weights_only=True"
        if called.endswith(("yaml.load", "torch.hub.load", "tempfile.mktemp", "os.system")):
            yield f"{where}: {called}"
        if called.endswith("np.load") and options.get("allow_pickle", "False") != "False":
            yield f"{where}: pickled arrays"
        if options.get("shell") == "True":
            yield f"{where}: shell=True"
        runs_file = "spec_from_file_location" in called or called.endswith("exec_module")
        if runs_file and file != CODE_OF_THE_USER:
            yield f"{where}: runs a file"


@pytest.mark.reliability(
    5, "Our sources unpickle nothing, evaluate no text and run a file of the user's in one place."
)
def test_no_source_of_ours_opens_a_door(measured: Callable[[str], None]) -> None:
    files = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    found = [
        violation
        for path in files
        for violation in violations(
            str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))
        )
    ]
    assert found == []
    measured(f"{len(files)} files")


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import load", "torch.load(p)", "eval(t)",
        "torch.load(p, weights_only=False)", "yaml.load(t)", "subprocess.run(c, shell=True)",
        "tempfile.mktemp()", "np.load(p, allow_pickle=True)", "spec.loader.exec_module(m)",
    ],
)  # fmt: skip
def test_the_walk_finds_doors(text: str) -> None:
    assert list(violations("x.py", ast.parse(text)))
