"""A cache of the tests' own, and a world small enough to be rendered for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.dataset_files import StageData
from benchmarks.errors import DataError
from benchmarks.mini_world.render_world import render_world
from benchmarks.schema import load_benchmark
from benchmarks.validation import conclude, inspect_all, listed
from benchmarks.world_spec import WorldSpec


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TRICKLE_CACHE, empty at first."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRICKLE_CACHE", str(folder))
    return folder


@pytest.fixture
def check() -> Callable[[StageData], tuple[str, ...]]:
    """check(data): the warnings about a stage's data, or DataError with all that is wrong."""

    def run(data: StageData) -> tuple[str, ...]:
        problems: dict[str, str] = {}
        usable = list(inspect_all(data, problems))
        if problems:
            raise DataError(listed(problems))
        return conclude(data, usable, problems)

    return run


def small(spec: WorldSpec) -> WorldSpec:
    """The same world with 20 + 10, 8 + 4 and 6 + 3 images."""
    counts = {"pretraining": (20, 10), "detection": (8, 4), "segmentation": (6, 3)}
    return spec.model_copy(
        update={
            task: getattr(spec, task).model_copy(update={"train": train, "test": test})
            for task, (train, test) in counts.items()
        }
    )


@pytest.fixture(scope="session")
def world_spec() -> WorldSpec:
    world = load_benchmark("mini").world
    assert world is not None
    return small(world)


@pytest.fixture(scope="session")
def world(world_spec: WorldSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small world on disk. Not to be changed."""
    folder = tmp_path_factory.mktemp("worlds") / "world"
    render_world(world_spec, folder, processes=1)
    return folder


@pytest.fixture(scope="session")
def mini_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mini.toml with the counts of the small world."""
    text = Path(load_benchmark.__code__.co_filename).with_name("mini.toml").read_text()
    for old, new in (
        ('name = "mini"', 'name = "tiny"'),
        ("train = 10000", "train = 20"),
        ("test = 1000", "test = 10"),
    ):
        assert old in text
        text = text.replace(old, new)
    head, _, tail = text.partition("[world.detection]")
    tail = tail.replace("train = 500", "train = 8").replace("test = 200", "test = 4")
    file = tmp_path_factory.mktemp("files") / "tiny.toml"
    file.write_text(head + "[world.detection]" + tail.replace("test = 150", "test = 3"))
    return file
