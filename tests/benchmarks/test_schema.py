"""A benchmark file is read strictly, and what is wrong with it is said by name."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backbones.catalog import UnknownNameError
from benchmarks.errors import BenchmarkError
from benchmarks.schema import DetectionBudget, SegmentationBudget, load_benchmark

EXAMPLES = Path(__file__).resolve().parents[2] / "benchmarks" / "examples"
PAPER = EXAMPLES.parent / "paper.toml"

SMALLEST = """
[pretraining]
root = "images"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def write_as(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def upstream(package: str, config: str) -> dict[str, Any]:
    """The variables of a configuration file that the package ships."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return runpy.run_path(f"{spec.submodule_search_locations[0]}/.mim/configs/{config}")


def upstream_classes(package: str, module: str) -> list[str]:
    """The `classes` of a data set class, without importing the package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0], module).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            pairs = dict(zip(map(ast.unparse, filter(None, node.keys)), node.values, strict=True))
            names = pairs.get("'classes'")
        elif isinstance(node, ast.Call):
            names = {keyword.arg: keyword.value for keyword in node.keywords}.get("classes")
        else:
            continue
        if names is not None:
            return [name.strip() for name in ast.literal_eval(names)]
    raise AssertionError(f"no classes in {module} of {package}")


def paper_detection() -> DetectionBudget:
    budget = load_benchmark("paper").detection
    assert budget is not None
    return budget


def paper_segmentation() -> SegmentationBudget:
    budget = load_benchmark("paper").segmentation
    assert budget is not None
    return budget


def test_mini_is_a_rendered_world_of_ten_classes_that_all_tasks_share() -> None:
    from benchmarks.mini_world.kinds import CLASSES

    mini = load_benchmark("mini")
    assert mini.world is not None
    assert mini.detection is not None
    assert mini.segmentation is not None
    assert len(set(CLASSES)) == 10
    assert mini.detection.classes == CLASSES
    assert mini.segmentation.classes == CLASSES
    assert mini.stages == ("pretraining", "detection", "segmentation")


def test_paper_detection_is_mmdetections_voc_configuration() -> None:
    budget = paper_detection()
    model = upstream("mmdet", "_base_/models/faster-rcnn_r50_fpn.py")["model"]
    data = upstream("mmdet", "_base_/datasets/voc0712.py")
    run = upstream("mmdet", "pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py")
    resize = next(t for t in data["train_pipeline"] if t["type"] == "Resize")
    assert budget.image_size == resize["scale"]
    assert budget.keep_ratio == resize["keep_ratio"]
    optimizer = run["optim_wrapper"]["optimizer"]
    assert (budget.learning_rate, budget.weight_decay) == (
        optimizer["lr"],
        optimizer["weight_decay"],
    )
    assert budget.batch_size == run["auto_scale_lr"]["base_batch_size"]
    assert budget.milestones == (run["param_scheduler"][0]["milestones"][0] / run["max_epochs"],)
    epochs = run["max_epochs"] * data["train_dataloader"]["dataset"]["times"]
    assert budget.iterations == round(epochs * (5011 + 11540) / budget.batch_size)
    assert budget.frozen_stages == model["backbone"]["frozen_stages"]
    assert budget.norm_eval == model["backbone"]["norm_eval"]
    assert [budget.anchor_scale] == model["rpn_head"]["anchor_generator"]["scales"]
    assert budget.fpn_channels == model["neck"]["out_channels"]
    assert budget.head_channels == model["roi_head"]["bbox_head"]["fc_out_channels"]
    assert budget.rpn_proposals == model["train_cfg"]["rpn_proposal"]["max_per_img"]
    assert budget.rois_per_image == model["train_cfg"]["rcnn"]["sampler"]["num"]
    assert list(budget.classes) == upstream_classes("mmdet", "datasets/voc.py")
    assert budget.bbox_min_size == 0  # upstream's 32 costs 2.5 mAP


def test_paper_segmentation_is_mmsegmentations_ade20k_configuration() -> None:
    budget = paper_segmentation()
    model = upstream("mmseg", "_base_/models/fcn_r50-d8.py")["model"]
    data = upstream("mmseg", "_base_/datasets/ade20k.py")
    schedule = upstream("mmseg", "_base_/schedules/schedule_160k.py")
    assert budget.image_size == data["test_pipeline"][1]["scale"]
    assert budget.crop_size == data["crop_size"]
    assert budget.iterations == schedule["train_cfg"]["max_iters"]
    assert budget.learning_rate == schedule["optimizer"]["lr"]
    assert budget.weight_decay == schedule["optimizer"]["weight_decay"]
    assert budget.power == schedule["param_scheduler"][0]["power"]
    assert budget.batch_size == 4 * data["train_dataloader"]["batch_size"]  # 4 GPUs
    assert budget.head_channels == model["decode_head"]["channels"]
    assert budget.norm_eval == model["backbone"]["norm_eval"]
    assert list(budget.classes) == upstream_classes("mmseg", "datasets/ade.py")


def test_coco_is_mmdetections_1x_configuration() -> None:
    budget = load_benchmark("coco").detection
    assert budget is not None
    assert (budget.layout, budget.metric, budget.train, budget.test) == (
        ("coco", "coco", ("train2017",), "val2017")
    )
    assert list(budget.classes) == upstream_classes("mmdet", "datasets/coco.py")
    data = upstream("mmdet", "_base_/datasets/coco_detection.py")
    resize = next(t for t in data["train_pipeline"] if t["type"] == "Resize")
    assert (budget.image_size, budget.keep_ratio) == (resize["scale"], resize["keep_ratio"])
    run = upstream("mmdet", "_base_/schedules/schedule_1x.py")
    optimizer = run["optim_wrapper"]["optimizer"]
    assert budget.learning_rate == optimizer["lr"]
    assert budget.weight_decay == optimizer["weight_decay"]
    assert budget.batch_size == run["auto_scale_lr"]["base_batch_size"]
    warmup, steps = run["param_scheduler"]
    assert budget.warmup_iterations == warmup["end"]
    # Upstream's logs say 7,330 iterations an epoch.
    epochs = run["train_cfg"]["max_epochs"]
    assert budget.iterations == 7330 * epochs
    falls = [round(fraction * budget.iterations) for fraction in budget.milestones]
    assert falls == [7330 * epoch for epoch in steps["milestones"]]
    # The detector itself is that of `paper`, which is upstream's for both.
    of_data = {"layout", "root", "train", "test", "classes", "image_size", "metric"}
    of_schedule = {"iterations", "learning_rate", "warmup_iterations", "milestones"}
    left = {"exclude": of_data | of_schedule}
    assert budget.model_dump(**left) == paper_detection().model_dump(**left)


def test_cityscapes_is_mmsegmentations_80k_configuration() -> None:
    budget = load_benchmark("cityscapes").segmentation
    assert budget is not None
    assert budget.layout == "cityscapes"
    assert list(budget.classes) == upstream_classes("mmseg", "datasets/cityscapes.py")
    data = upstream("mmseg", "_base_/datasets/cityscapes.py")
    assert budget.image_size == data["test_pipeline"][1]["scale"]
    assert budget.crop_size == data["crop_size"][::-1]  # theirs is height, width
    schedule = upstream("mmseg", "_base_/schedules/schedule_80k.py")
    assert budget.iterations == schedule["train_cfg"]["max_iters"]
    assert budget.learning_rate == schedule["optimizer"]["lr"]
    assert budget.weight_decay == schedule["optimizer"]["weight_decay"]
    assert budget.batch_size == 4 * data["train_dataloader"]["batch_size"]  # 4 GPUs
    changed = {"layout", "root", "classes", "image_size", "crop_size", "iterations", "batch_size"}
    left = {"exclude": changed}
    assert budget.model_dump(**left) == paper_segmentation().model_dump(**left)


@pytest.mark.parametrize("name", ["coco", "cityscapes"])
def test_their_pretraining_is_that_of_paper(name: str) -> None:
    other, paper = load_benchmark(name), load_benchmark("paper")
    assert (other.backbone, other.pretraining) == (paper.backbone, paper.pretraining)


@pytest.mark.parametrize("name", ["real_photographs", "own_data", "own_photographs"])
def test_examples_are_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICKLE_REAL_DATA", raising=False)
    benchmark = load_benchmark(EXAMPLES / f"{name}.toml")
    assert benchmark.name == name
    first = getattr(benchmark, benchmark.stages[0])
    assert all(place.is_relative_to(EXAMPLES / "data") for place in first.places().values())
    monkeypatch.setenv("TRICKLE_BENCHMARK_FOLDER", "/where/the/copied/file/lies")
    copied = load_benchmark(EXAMPLES / f"{name}.toml")
    first = getattr(copied, copied.stages[0])
    there = Path("/where/the/copied/file/lies/data")
    assert all(place.is_relative_to(there) for place in first.places().values())


def test_the_examples_of_ones_own_show_every_key() -> None:
    from benchmarks.schema import FineTuneBudget, PretrainingBudget

    for name, models in (
        ("own_data", (PretrainingBudget, DetectionBudget, SegmentationBudget)),
        ("own_photographs", (FineTuneBudget,)),
    ):
        text = (EXAMPLES / f"{name}.toml").read_text()
        for model in models:
            for key in model.model_fields:
                assert f"\n{key} = " in text, f"{model.__name__}.{key} is not in {name}.toml"


def test_what_the_example_of_photographs_calls_a_default_is_the_default(tmp_path: Path) -> None:
    text = (EXAMPLES / "own_photographs.toml").read_text()
    said = [line for line in text.splitlines() if "# default" in line]
    kept = {"name", "unlabelled", "labelled_per_class", "workers"}  # it shows something else
    assert {line.split()[0] for line in said} >= {"recipe", "validation", "folds", *kept}
    shorter = "\n".join(x for x in text.splitlines() if x not in said or x.split()[0] in kept)
    (tmp_path / "short.toml").write_text(shorter)
    (tmp_path / "whole.toml").write_text(text)
    assert load_benchmark(tmp_path / "short.toml") == load_benchmark(tmp_path / "whole.toml")


def test_a_benchmark_may_be_of_ones_own_photographs_alone(tmp_path: Path) -> None:
    text = "[finetune]\nroot = '$PWD/photos.csv'\nunlabelled = 'more'\n"
    benchmark = load_benchmark(write(tmp_path, text))
    assert benchmark.stages == ("finetune",)
    assert benchmark.finetune is not None
    assert benchmark.finetune.root == Path.cwd() / "photos.csv"
    assert benchmark.finetune.folder == Path.cwd()
    assert benchmark.finetune.unlabelled == tmp_path / "more"
    said = r"benchmark mine has no \[pretraining\]: no backbone can be trained on it; name finished"
    with pytest.raises(BenchmarkError, match=said):
        benchmark.require_pretraining()


def test_name_is_the_files_by_default_and_tasks_may_be_left_out(tmp_path: Path) -> None:
    benchmark = load_benchmark(write(tmp_path, SMALLEST))
    assert benchmark.name == "mine"
    assert benchmark.stages == ("pretraining",)
    assert benchmark.pretraining.root == tmp_path / "images"


@pytest.mark.parametrize("name", ["paper", "mini"])
def test_a_file_of_ones_own_cannot_pass_for_a_benchmark_of_ours(tmp_path: Path, name: str) -> None:
    """Published numbers would stand beside its cells."""
    own = "[pretraining]\nroot = 'i'\n"
    said = rf"{name}\.toml: the name '{name}' .*name = \"my_{name}\""
    with pytest.raises(BenchmarkError, match=said):
        load_benchmark(write_as(tmp_path / f"{name}.toml", own))
    with pytest.raises(BenchmarkError, match=f"'{name}' is that of a benchmark that comes"):
        load_benchmark(write_as(tmp_path / "own.toml", f"name = '{name}'\n{own}"))
    assert load_benchmark(write_as(tmp_path / f"my_{name}.toml", own)).name == f"my_{name}"


def test_a_copy_of_ours_with_other_roots_stays_ours(tmp_path: Path) -> None:
    text = PAPER.read_text()
    copy = text.replace("${TRICKLE_DATA:-~/data}", "/disk").replace("workers = 16", "workers = 3")
    copied = load_benchmark(write_as(tmp_path / "copy.toml", copy))
    assert copied.name == "paper"
    assert (copied.pretraining.root, copied.pretraining.workers) == (Path("/disk/imagenet"), 3)
    assert load_benchmark(PAPER) == load_benchmark("paper")
    changed = write_as(tmp_path / "changed.toml", copy.replace("= 224", "= 192"))
    with pytest.raises(BenchmarkError, match="'paper' is that of a benchmark"):
        load_benchmark(changed)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="nearest: mini"):
        load_benchmark("minni")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no benchmark file at .*nothing\.toml"):
        load_benchmark(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[pretraining\n", "is not a TOML file"),
        ("[pretraining]\n", "pretraining.root: missing"),
        ("[backbone]\n", r"no data is named: at least one of .*\[finetune\] is"),
        ("[finetune]\nroot = 'i'\nfold = 3\n", "finetune.fold: no such key; nearest: folds"),
        ("[finetune]\nroot = 'i'\nfolds = 1\n", "finetune.folds: .*or equal to 2"),
        ("[finetune]\nroot = 'i'\nvalidation_share = 1\n", "validation_share: .*less than 1"),
        ("[finetune]\nroot = 'i'\nvalidation = 'loo'\n", "'holdout', 'kfold' or 'repeated'"),
        ("[finetune]\nroot = 'i'\nresize_size = 9\n", r"resize_size \(9\) must be at least"),
        (
            SMALLEST + "image_sise = 64\n",
            "pretraining.image_sise: no such key; nearest: image_size",
        ),
        (SMALLEST + "[detektion]\n", "detektion: no such key; nearest: detection"),
        (SMALLEST + "image_size = -1\n", r"pretraining.image_size: .*greater than 0 \(given -1\)"),
        (SMALLEST + "image_size = 300\n", r"resize_size \(256\) must be at least image_size"),
        (SMALLEST + "epoch_scale = 'all'\n", r"pretraining.epoch_scale: .*number"),
        (SMALLEST + "shrink_to = 223\n", r"shrink_to \(223\) must be at least image_size \(224\)"),
        (SMALLEST + "shrink_to = -256\n", r"pretraining.shrink_to: .*or equal to 0"),
        (SMALLEST + "shrink_to = 'small'\n", r"pretraining.shrink_to: .*integer"),
    ],
)
def test_a_wrong_file_names_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(BenchmarkError, match=message) as caught:
        load_benchmark(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train", '["trainval"]', "VOC2007/test"),
        ("test", '"VOC2007/Main/test"', "VOC2007/test"),
        ("classes", '["cat", "dog", "cat"]', "classes names cat more than once"),
        ("classes", "[]", "detection.classes"),
        ("milestones", "[0.9, 0.7]", "milestones must ascend"),
        ("milestones", "[8.0]", "less than 1"),
        ("metric", '"median"', "voc07_11point"),
        ("layout", '"coco"', "name of a folder, e.g. \"val2017\"; got 'VOC2007/trainval'"),
        ("image_size", "[64]", "detection.image_size"),
    ],
)
def test_a_wrong_detection_budget_is_explained(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    table = {
        "root": '"voc"',
        "train": '["VOC2007/trainval"]',
        "test": '"VOC2007/test"',
        "classes": '["cat", "dog"]',
        "image_size": "[64, 64]",
        "iterations": "1",
        "batch_size": "1",
        "learning_rate": "0.1",
    }
    table[key] = value
    lines = "".join(f"{name} = {text}\n" for name, text in table.items())
    with pytest.raises(BenchmarkError, match=message):
        load_benchmark(write(tmp_path, f"{SMALLEST}[detection]\n{lines}"))


def test_what_is_no_label_of_cityscapes_is_named(tmp_path: Path) -> None:
    text = (
        (EXAMPLES.parent / "cityscapes.toml").read_text().replace('"cityscapes"\ndesc', '"x"\ndesc')
    )
    wrong = write(tmp_path, text.replace('"road"', '"street"'))
    with pytest.raises(BenchmarkError, match="Cityscapes has no label 'street'; its labels: unlab"):
        load_benchmark(wrong)


def test_loading_needs_neither_torch_nor_numpy_and_looking_for_data_no_torch() -> None:
    code = (
        "import sys; from benchmarks.schema import load_benchmark; "
        "load_benchmark('mini'); load_benchmark('paper'); "
        "print(sorted({'torch', 'numpy', 'cv2'} & sys.modules.keys())); "
        "import benchmarks.prepare; print(sorted({'torch', 'cv2'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["[]", "[]"]), done.stderr
