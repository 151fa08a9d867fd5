"""A whole run on weights that others trained: a file of timm's names, and a model of the hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backbones import load_artifact
from eval.records import read_records

ROOT = Path(__file__).parents[1]
COMMIT = "c" * 40


@pytest.mark.slow  # six processes that import torch
def test_weights_of_others_through_a_whole_run(tmp_path: Path, make_benchmark: Any) -> None:
    import timm
    import torch

    make_benchmark(tmp_path)
    model = timm.create_model("test_resnet")
    checkpoint = {"epoch": 1, "model": {f"module.{k}": t for k, t in model.state_dict().items()}}
    torch.save(checkpoint, tmp_path / "mine.pth")
    cached = tmp_path / "hf/hub/models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text(COMMIT)
    other = timm.create_model("test_resnet", num_classes=5)
    timm.models.save_for_hf(other, cached / "snapshots" / COMMIT, safe_serialization=True)

    names = ["timm:test_resnet@mine.pth", "hf:someone/tiny"]
    command = [sys.executable, str(ROOT / "eval/run_transfer.py"), "--backbone", *names]
    done = subprocess.run(
        [*command, "--benchmark", "squares.toml", "--tasks", "detection", "--out", "out"],
        cwd=tmp_path,
        env={
            **os.environ,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "TRICKLE_CACHE": str(tmp_path / "cache"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    records = {r.backbone: r for r in read_records(tmp_path / "out/records").by_key.values()}
    assert set(records) == {*names, "scratch:timm:test_resnet"}
    assert all(record.status == "ok" for record in records.values())
    assert {records[name].control for name in names} == {"scratch:timm:test_resnet"}
    digest = hashlib.sha256((tmp_path / "mine.pth").read_bytes()).hexdigest()
    assert records[names[0]].environment["imported_sha256"] == digest
    assert records[names[1]].environment["imported_commit"] == COMMIT
    by_notes = {}
    for folder in (tmp_path / "out/artifacts").iterdir():
        backbone = load_artifact(folder)
        assert backbone.card is not None
        by_notes[backbone.card.notes.get("source", "random")] = backbone.state_dict()
    for source, theirs in (("timm:test_resnet", model), ("hf:someone/tiny", other)):
        weight = by_notes[source]["body.conv1.0.weight"]
        assert torch.equal(weight, theirs.state_dict()["conv1.0.weight"])
