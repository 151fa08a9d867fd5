"""`trickle finetune FOLDER`: what it makes of a folder, which backbone it takes, how it goes on."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
import timm
import torch

from benchmarks.schema import load_benchmark
from eval import candidates, cli
from eval.candidates import CONTROL, find_candidates
from eval.own_benchmark import own_benchmark
from eval.own_data import OwnData
from eval.probed import ranked


class Stages(Protocol):
    folder: Path
    calls: list[str]
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch


def photos(root: Path, counts: dict[str, int], size: tuple[int, int] = (40, 60)) -> Path:
    """`<root>/<class>/<n>.png`, so many of each class."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = np.full((*size, 3), (index * 7 + len(name)) % 256, np.uint8)
            assert cv2.imwrite(str(root / name / f"{index}.png"), image)
    return root


def made(own: OwnData, out: Path) -> tuple[Path, str]:
    """The benchmark's file and all that was said."""
    found = own_benchmark(own, out, write_to=out, gpu=False)
    return found.file, "\n".join(found.said)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def finetune(stages: Stages, *arguments: str, **behavior: str) -> tuple[int, str, str]:
    with stages.patch.context() as patch:
        for name, value in behavior.items():
            patch.setenv(name, value)
        stages.capture.readouterr()
        code = cli.main(["finetune", *arguments])
    return (code, *stages.capture.readouterr())


def write_artifact(folder: Path, top1: float = 70.0, weights: str = "trained") -> None:
    folder.mkdir(parents=True)
    content = b"stand in for tensors"
    card = {
        "schema": 1,
        "architecture": "resnet18d",
        "arguments": {"width": 0.25},
        "weights": weights,
        "preprocessing": {
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "channel_order": "RGB",
            "interpolation": "bilinear",
        },
        "features": {"channels": [16, 32, 64, 128], "strides": [4, 8, 16, 32]},
        "metrics": {"top1": top1, "top5": 99.0, "n": 100},
        "sha256": hashlib.sha256(content).hexdigest(),
        "cost": {"parameters": 1000, "gmacs": 0.1},
    }
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "model.safetensors").write_bytes(content)


def test_a_fifth_of_each_class_is_set_aside_once_and_can_be_edited(tmp_path: Path) -> None:
    own = OwnData(data=photos(tmp_path / "pets", {"cat": 20, "dog": 10}))
    file, said = made(own, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "images.csv")
    assert Counter((row["label"], row["split"]) for row in rows) == {
        ("cat", "train"): 16,
        ("cat", "test"): 4,
        ("dog", "train"): 8,
        ("dog", "test"): 2,
    }
    assert all(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert "24 to learn from, 6 test images, 2 classes" in said
    benchmark = load_benchmark(file)
    assert benchmark.finetune is not None
    assert benchmark.name == "pets"
    assert benchmark.finetune.root == tmp_path / "out" / "images.csv"
    assert benchmark.finetune.image_size == 32  # the shorter side is 40, in steps of 32
    (tmp_path / "out" / "images.csv").write_text(
        "\n".join(f"{row['path']},{row['label']},{row['split']}" for row in rows).join(
            ["path,label,split\n", "\n"]
        )
    )
    edited = file.read_text().replace("image_size = 32", "image_size = 36")
    file.write_text(edited)
    photos(own.data, {"cat": 21})
    again, said = made(own, tmp_path / "out")
    assert again.read_text() == edited
    assert "1 images of" in said


def test_groups_are_set_aside_whole(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 12, "b": 12})
    lines = [f"{c}/{i}.png,{c},patient{i // 3}{c}" for c in "ab" for i in range(12)]
    data = tmp_path / "all.csv"
    data.write_text("path,label,group\n" + "\n".join(lines) + "\n")
    made(OwnData(data=data), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "images.csv")
    groups = {
        split: {r["group"] for r in rows if r["split"] == split} for split in ("train", "test")
    }
    assert groups["test"]
    assert not groups["train"] & groups["test"]
    assert {row["label"] for row in rows if row["split"] == "test"} == {"a", "b"}


def test_folders_that_say_their_splits_are_taken_by_their_word(tmp_path: Path) -> None:
    data = tmp_path / "split"
    for split, count in (("train", 6), ("val", 2)):
        photos(data / split, {"a": count, "b": count})
    file, _ = made(OwnData(data=data), tmp_path / "out")
    budget = load_benchmark(file).finetune
    assert budget is not None
    assert budget.root == data
    assert not (tmp_path / "out" / "images.csv").exists()
    photos(data / "test", {"a": 3, "b": 3})
    made(OwnData(data=data), tmp_path / "three")
    rows = rows_of(tmp_path / "three" / "images.csv")
    found = Counter((Path(row["path"]).parents[1].name, row["split"]) for row in rows)
    assert found == {("train", "train"): 12, ("val", "train"): 4, ("test", "test"): 6}


@pytest.mark.parametrize(
    ("counts", "folds", "said"),
    [
        ({"a": 5}, None, "1 class"),
        ({}, None, "class"),
        ({"a": 5, "b": 2}, None, "fewer than 3 images of b"),
        ({"a": 10, "b": 5}, 9, "class a has 8 images"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, counts: dict[str, int], folds: int | None, said: str
) -> None:
    (tmp_path / "data").mkdir()
    own = OwnData(data=photos(tmp_path / "data", counts), folds=folds)
    with pytest.raises(ValueError, match=said):
        made(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_five_images_of_a_class_are_few_and_enough(tmp_path: Path) -> None:
    file, said = made(OwnData(data=photos(tmp_path / "few", {"a": 5, "b": 5})), tmp_path / "out")
    assert "few images to learn from: a (4), b (4)" in said
    budget = load_benchmark(file).finetune
    assert budget is not None
    assert budget.validation_share == 0.25  # one of four


def test_what_an_earlier_call_wrote_is_not_taken_for_other_images(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = (photos(tmp_path / name, {"a": 6, "b": 6}) for name in ("one", "two"))
    made(OwnData(data=first), out)
    with pytest.raises(ValueError, match="of other images"):
        made(OwnData(data=second), out)
    with pytest.raises(ValueError, match=r"--image-size 64, and .* says 32"):
        made(OwnData(data=first, image_size=64), out)
    with pytest.raises(ValueError, match="--folds 3"):
        made(OwnData(data=first, folds=3), out)


def test_candidates_are_artifacts_then_models_of_timm_then_random_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(candidates, "is_cached", lambda model: False)
    out = tmp_path / "runs" / "mine"
    none = find_candidates(out, reached=lambda: False)
    assert none.specs == (CONTROL,)
    assert "Warning" in none.said[0]
    assert all(s.startswith("timm:") for s in find_candidates(out, reached=lambda: True).specs)
    artifacts = tmp_path / "runs" / "mini" / "artifacts"
    write_artifact(artifacts / "resnet18d_mixup-s0-00000000", 60)
    write_artifact(artifacts / "resnet18d_mixup-s1-00000001", 65)
    write_artifact(artifacts / "resnet18d_smooth-s0-00000002", 80)
    write_artifact(artifacts / "scratch-resnet18d-s0-00000003", 90, weights="random")
    write_artifact(out / "artifacts" / "timm-resnet18-00000004", 95)
    assert find_candidates(out, reached=lambda: True).specs == (
        "runs/mini/artifacts/resnet18d_smooth-s0-00000002",
        "runs/mini/artifacts/resnet18d_mixup-s0-00000000",
    )


def test_the_best_linear_probe_is_chosen_and_nearest_neighbours_decide_between_equals() -> None:
    assert ranked({}) == []
    assert ranked({"a": {}, "b": {"linear_probe": 1.0, "knn": 1.0}}) == ["b"]
    probes = {
        "a": {"linear_probe": 80.0, "knn": 90.0},
        "b": {"linear_probe": 81.0, "knn": 60.0},
        "c": {"linear_probe": 81.0, "knn": 70.0},
    }
    assert ranked(probes) == ["c", "b", "a"]


def test_from_a_folder_to_a_classifier_and_nothing_twice(stages: Stages) -> None:
    photos(stages.folder / "pets", {"cat": 10, "dog": 10})
    write_artifact(stages.folder / "good")
    asked = ("pets", "--backbone", "scratch:resnet18d", "./good", "--recipe", "finetune", "linear")
    code, out, _ = finetune(stages, *asked, "--dry-run")
    assert code == 0
    assert stages.calls == []
    assert not (stages.folder / "runs").exists()
    code, out, err = finetune(stages, *asked)
    assert code == 0, err
    kinds = Counter(call.partition("-")[0] for call in stages.calls)
    assert kinds == {"weights": 1, "probes": 2, "finetune": 2}
    assert all("good" in call for call in stages.calls if call.startswith("finetune"))
    runs = stages.folder / "runs" / "pets"
    kept = json.loads((runs / "proxies.json").read_text())
    assert kept["chosen"] == "./good"
    assert "Chosen: ./good" in out
    assert "trickle export runs/pets/classifier" in out
    assert (runs / "classifier" / "model.safetensors").read_bytes() == b"stand in for tensors"
    page = (runs / "report.html").read_text()
    assert "Of 2 candidates ./good has the best features for these images" in page
    said = "seed 0: 30.0 on 100 validation images; 2 rows validated alike: the one of the fewest"
    assert f"Classifier: runs/pets/classifier/ (./good~linear, {said} tricks" in out
    words = re.sub(r"<[^>]+>", "", page)
    assert f"The classifier that validated best, ./good~linear ({said} tricks" in words
    assert "lies in classifier, in the folder of this page" in words
    table = json.loads((runs / "table.json").read_text())
    assert [row["backbone"] for row in table["rows"]] == ["./good~finetune", "./good~linear"]
    assert table["baseline"] == "./good~finetune"
    before = len(stages.calls)
    code, out, _ = finetune(stages, "pets", "--recipe", "finetune", "linear")  # as chosen before
    assert code == 0
    assert len(stages.calls) == before
    assert "Chosen: ./good" in out
    shutil.rmtree(runs / "work")
    code, out, _ = finetune(stages, "pets", "--recipe", "finetune", "linear")
    assert "gone from its work folder; runs/pets/classifier/ stays as it was" in out
    assert (runs / "classifier" / "model.safetensors").is_file()


def test_a_classifier_that_cannot_be_exported_costs_no_table(stages: Stages) -> None:
    photos(stages.folder / "pets", {"cat": 10, "dog": 10})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    stages.patch.setattr("eval.finetune_folder.shutil.copytree", full)
    asked = ("pets", "--backbone", "scratch:resnet18d", "--recipe", "linear")
    code, out, err = finetune(stages, *asked)
    assert code != 0
    assert "No space left" in err
    assert "Table: runs/pets/table.md" in out
    assert (stages.folder / "runs" / "pets" / "report.html").is_file()


def test_weights_of_a_file_elsewhere_are_found_in_every_step(stages: Stages) -> None:
    """A row is named by the file alone, which says nothing of its folder."""
    photos(stages.folder / "pets", {"cat": 10, "dog": 10})
    weights = stages.folder / "elsewhere" / "w.pth"
    weights.parent.mkdir()
    torch.save(timm.create_model("test_resnet").state_dict(), weights)
    asked = ("pets", "--backbone", f"timm:test_resnet@{weights}", "--recipe", "linear")
    for more in ([], ["scratch:resnet18d"]):  # the second time both are probed
        code, _, err = finetune(stages, *asked[:3], *more, *asked[3:])
        assert code == 0, err
    assert finetune(stages, "pets", "--recipe", "linear")[0] == 0  # as chosen before


def test_one_candidate_is_not_probed_and_a_failure_says_so(stages: Stages) -> None:
    photos(stages.folder / "pets", {"cat": 10, "dog": 10})
    asked = ("pets", "--backbone", "scratch:resnet18d")
    code, out, _ = finetune(stages, *asked, FAKE_CRASH="finetune")
    assert code == 1
    assert "No classifier was exported" in out
    code, out, _ = finetune(stages, *asked)
    assert code == 0
    assert not any(call.startswith("probes") for call in stages.calls)
    assert "Recipes: linear, finetune; the one that validates best gives the classifier" in out
    table = json.loads((stages.folder / "runs" / "pets" / "table.json").read_text())
    assert [row["backbone"].partition("~")[2] for row in table["rows"]] == ["linear", "finetune"]
    photos(stages.folder / "more", {"elephants": 4})
    _, out, _ = finetune(stages, *asked, "--unlabelled", "more", "--dry-run", "--out", "other")
    assert "Recipes: linear, finetune, finetune+pseudo_labels" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nothing is at"),
        (["pets", "--recipe", "finetun"], "nearest: finetune"),
        (["pets", "--backbone", "resnet50d_mixup"], "no \\[pretraining\\]"),
        (["pets", "--unlabelled", "nowhere"], "nowhere"),
    ],
)
def test_wrong_usage_of_a_folder_is_answered_in_a_line(
    stages: Stages, arguments: list[str], said: str
) -> None:
    photos(stages.folder / "pets", {"cat": 10, "dog": 10})
    if len(arguments) == 1 or "--backbone" not in arguments:
        arguments = [*arguments, "--backbone", "scratch:resnet18d"]
    code, _, err = finetune(stages, *arguments)
    assert code == 2
    assert err.startswith("error:")
    assert re.search(said, err), err
    assert stages.calls == []
