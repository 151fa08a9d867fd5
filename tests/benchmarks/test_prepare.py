"""A benchmark is ready when its world is rendered, once, and its data is good."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cache import cache_folder
from benchmarks.errors import DataError
from benchmarks.prepare import ensure_ready, find_ready, world_folder
from benchmarks.schema import load_benchmark


def test_a_world_is_rendered_into_the_cache_and_then_found(
    mini_toml: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark = load_benchmark(mini_toml)
    assert find_ready(benchmark) is None
    assert not cache.exists()

    prepared = ensure_ready(benchmark)
    assert "rendering the mini world: 53/53 images" in capfd.readouterr().err
    assert prepared.digests.keys() == {"pretraining", "detection", "segmentation"}
    for stage in benchmark.stages:
        root = getattr(prepared.benchmark, stage).root
        assert root.is_dir()
        assert root.is_relative_to(cache)

    start = time.perf_counter()
    again = ensure_ready(benchmark)
    assert time.perf_counter() - start < 1
    assert again == prepared == find_ready(benchmark)
    assert capfd.readouterr().err == ""


def test_two_processes_render_once(mini_toml: Path, cache: Path) -> None:
    code = (
        "import sys; from benchmarks.prepare import ensure_ready; "
        "from benchmarks.schema import load_benchmark; "
        "print(ensure_ready(load_benchmark(sys.argv[1])).digests)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(mini_toml)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert sorted("rendering" in errors for _, errors in outputs) == [False, True]


def test_another_world_is_another_folder(mini_toml: Path) -> None:
    benchmark = load_benchmark(mini_toml)
    assert benchmark.world is not None
    other = benchmark.world.model_copy(update={"seed": 1})
    folders = {
        world_folder(benchmark.model_copy(update={"world": w})) for w in (benchmark.world, other)
    }
    assert len(folders) == 2


def test_a_world_that_lost_a_file_is_refused_until_it_is_deleted(mini_toml: Path) -> None:
    benchmark = load_benchmark(mini_toml)
    ensure_ready(benchmark)
    folder = world_folder(benchmark)
    next((folder / "imagenet/train").rglob("*.JPEG")).unlink()
    with pytest.raises(DataError, match=f"world in {folder} has been changed .*delete"):
        ensure_ready(benchmark)


def test_a_cache_that_cannot_be_written_is_named(
    mini_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written.*TRICKLE_CACHE"):
        ensure_ready(load_benchmark(mini_toml))


def test_missing_data_says_which_folder_and_what_it_should_hold(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[pretraining]\nroot = "photographs"\n')
    for ready in (ensure_ready, find_ready):
        with pytest.raises(DataError, match=r"mine: no folder \S+/photographs, .*train/<class>"):
            ready(load_benchmark(file))


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRICKLE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/someone/.cache")
    assert cache_folder() == Path("/home/someone/.cache/trickle")
