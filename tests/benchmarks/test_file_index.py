"""The index of a million images: what a plain walk finds, mapped, and made anew when it must be."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import file_index as module
from benchmarks.file_index import ImageSamples, file_index, sizes_and_times
from benchmarks.imagenet_layout import read_index, stage_data
from benchmarks.name_table import NameTable


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of tests are young; what that is for has its own test."""
    monkeypatch.setattr(module, "YOUNG_NS", 0)


NAMES = ["b.JPEG", "a.jpg", "ü é.png", "a b.JPG", "名前.jpeg", "a'\"$(x).jpg", "-n.png", "Z.jpg"]


def tree(root: Path, classes: dict[str, list[str]]) -> Path:
    for name, files in classes.items():
        (root / name).mkdir(parents=True)
        for file in files:
            (root / name / file).write_bytes(name.encode() + file.encode())
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return tree(
        tmp_path / "imagenet/train",
        {"bee": NAMES, "a": ["1.jpg"], "a-b": ["2.jpg", "3.jpg"], "ä": NAMES[:3]},
    )


def walked(split: Path) -> list[tuple[Path, int]]:
    """The oracle: plain lists of what os.walk finds."""
    found = [(Path(p).name, f) for p, _, files in os.walk(split) for f in files]
    classes = sorted({name for name, _ in found})
    return [(split / name / file, classes.index(name)) for name, file in sorted(found)]


def everything(split: Path) -> list[tuple[Path, int]]:
    return list(read_index(split.parent, split.name).samples)


def listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed from now on."""
    seen: list[Path] = []
    original = module._listed

    def counted(folder: Path, classes: Any) -> Any:
        seen.append(folder)
        return original(folder, classes)

    monkeypatch.setattr(module, "_listed", counted)
    return seen


def test_samples_are_those_of_a_walk(split: Path, cache: Path) -> None:
    expected = walked(split)
    for _ in range(2):  # listed, then mapped
        assert everything(split) == expected
        samples = read_index(split.parent, split.name).samples
        assert len(samples) == len(expected) == 14
        assert [samples[at] for at in range(14)] == expected
        assert samples[-3] == expected[-3]
        assert (samples[:5], samples[3:12:2], samples[20:]) == (expected[:5], expected[3:12:2], [])
        for at in (14, -15):
            with pytest.raises(IndexError):
                samples[at]
    assert len(list((cache / "indexes").iterdir())) == 1


def test_a_second_start_lists_nothing(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = everything(split)
    seen = listings(monkeypatch)
    assert everything(split) == first
    assert seen == []


@pytest.mark.parametrize("how", ["new", "gone", "renamed", "class", "no class"])
def test_what_comes_and_goes_is_noticed(split: Path, how: str) -> None:
    everything(split)
    file = split / "bee/a.jpg"
    if how == "new":
        (split / "bee/new.jpg").touch()
    elif how == "gone":
        file.unlink()
    elif how == "renamed":
        file.rename(split / "bee/c.jpg")
    elif how == "class":
        (split / "a").rename(split / "moved")
    else:
        (split / "a/1.jpg").unlink()
        (split / "a").rmdir()
    assert everything(split) == walked(split)


def test_a_folder_as_old_as_it_was_is_listed_again_when_it_has_changed(split: Path) -> None:
    """As after `rsync --times`, which sets the time of the folder back."""
    everything(split)
    before = (split / "bee").stat()
    (split / "bee/new.jpg").touch()
    os.utime(split / "bee", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert everything(split) == walked(split)


def test_a_young_folder_is_not_kept(
    split: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "YOUNG_NS", 60_000_000_000)
    assert everything(split) == walked(split)
    assert not (cache / "indexes").exists()


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_damaged_index_is_made_anew(split: Path, cache: Path) -> None:
    everything(split)
    (file,) = (cache / "indexes").iterdir()
    whole = file.read_bytes()
    damaged = [flip(whole, at) for at in range(0, len(whole), max(1, len(whole) // 40))]
    for data in [*damaged, b"", b"\n", whole[:-1], whole + b"x", b"{}", whole[: len(whole) // 2]]:
        file.write_bytes(data)
        assert everything(split) == walked(split)
        assert file.read_bytes() == whole


def test_an_index_of_another_tree_is_not_taken(split: Path, cache: Path, tmp_path: Path) -> None:
    everything(split)
    (file,) = (cache / "indexes").iterdir()
    other = tree(tmp_path / "other/train", {"bee": ["x.jpg"], "a": ["1.jpg"]})
    everything(other)
    (new,) = set((cache / "indexes").iterdir()) - {file}
    new.write_bytes(file.read_bytes())
    assert everything(other) == walked(other)


def test_a_cache_that_cannot_be_written_costs_only_time(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "file"))
    samples = read_index(split.parent, split.name).samples
    assert list(samples) == list(pickle.loads(pickle.dumps(samples))) == walked(split)


def test_the_index_is_that_of_the_place_whatever_it_is_called(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything(split)
    (tmp_path / "link").symlink_to(split.parent)
    seen = listings(monkeypatch)
    assert everything(tmp_path / "link/train") == walked(tmp_path / "link/train")
    assert seen == []


def _first_and_last(samples: ImageSamples) -> tuple[Any, Any, int]:
    return samples[0], samples[-1], len(samples)


def test_workers_map_the_same_file(split: Path) -> None:
    samples = read_index(split.parent, split.name, left_out=["train/bee/a.jpg"]).samples
    assert len(pickle.dumps(samples)) < 2000
    again = pickle.loads(pickle.dumps(samples))
    assert list(again) == list(samples)
    assert not again.files.names.text.flags.owndata
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply(_first_and_last, (samples,))
    assert found == _first_and_last(samples)


@pytest.mark.parametrize("name", [".hidden", "new.jpg"])
def test_a_job_keeps_the_names_that_it_began_with(split: Path, cache: Path, name: str) -> None:
    """A file that came since, and a later start that has listed it, do not disturb its workers."""
    expected = walked(split)
    data = pickle.dumps(read_index(split.parent, split.name).samples)
    (file,) = (cache / "indexes").iterdir()
    before = file.stat().st_ino
    (split / "bee" / name).touch()
    everything(split)
    assert file.stat().st_ino == before
    module._reopened.cache_clear()
    assert list(pickle.loads(data)) == expected
    assert len(list((cache / "indexes").iterdir())) == 2


def test_a_worker_never_gets_another_index(split: Path, cache: Path) -> None:
    data = pickle.dumps(read_index(split.parent, split.name).samples)
    (file,) = (cache / "indexes").iterdir()
    (split / "bee/new.jpg").touch()
    everything(split)
    (other,) = set((cache / "indexes").iterdir()) - {file}
    module._reopened.cache_clear()
    file.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="not the one that the run began with; start again"):
        pickle.loads(data)
    file.unlink()
    with pytest.raises(ValueError, match="gone or damaged"):
        pickle.loads(data)


def test_who_comes_second_takes_the_index_that_is_there(
    split: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on two machines that list at the same time: neither replaces what the other has mapped."""
    original, inodes = module._listed, []

    def late(folder: Path, classes: Any, layout: str) -> Any:
        monkeypatch.setattr(module, "_listed", original)
        found = original(folder, classes, layout)
        everything(split)  # the other one is done
        inodes.extend(file.stat().st_ino for file in (cache / "indexes").iterdir())
        return found

    monkeypatch.setattr(module, "_listed", late)
    assert everything(split) == walked(split)
    assert [file.stat().st_ino for file in (cache / "indexes").iterdir()] == inodes
    assert len(inodes) == 1


def test_an_index_that_nobody_opens_goes_after_a_month(split: Path, cache: Path) -> None:
    month, now = 30 * 86_400, time.time()
    everything(split)
    (used,) = (cache / "indexes").iterdir()
    os.utime(used, (now - month - 3600,) * 2)
    everything(split)  # a start that only opens it
    old, young = cache / "indexes/old.arrays", cache / "indexes/young.arrays"
    for file, days in ((old, month + 3600), (young, month - 3600)):
        file.write_bytes(b"x")
        os.utime(file, (now - days,) * 2)
    everything(split)
    assert old.exists(), "only who writes tidies up"
    (split / "bee/new.jpg").touch()
    everything(split)
    assert (used.exists(), young.exists(), old.exists()) == (True, True, False)


def test_two_processes_at_once(split: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(everything, [split] * 8)
    assert found == [walked(split)] * 8


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(left=st.sets(st.integers(0, 13)))
def test_what_is_left_out_is_skipped(split: Path, left: set[int]) -> None:
    expected = walked(split)
    names = [expected[at][0].relative_to(split.parent).as_posix() for at in left]
    unknown = ["train/bee/none.jpg", "train/none/a.jpg", "val/bee/a.jpg", "x"]
    samples = read_index(split.parent, "train", left_out=[*names, *unknown]).samples
    kept = [sample for at, sample in enumerate(expected) if at not in left]
    assert len(samples) == len(kept)
    assert [samples[at] for at in range(len(kept))] == list(samples) == kept


def test_files_of_both_splits_in_the_order_of_their_paths(split: Path) -> None:
    tree(split.parent / "val", {"bee": ["9.jpg"], "a": ["1.jpg"], "a-b": ["2.jpg"], "ä": ["x.jpg"]})
    files = stage_data(split.parent).files
    every = {p.relative_to(split.parent).as_posix() for p in split.parent.rglob("*.*g")}
    every |= {p.relative_to(split.parent).as_posix() for p in split.parent.rglob("*.[Jj]*")}
    assert list(files.names()) == sorted(every)
    assert {s.image for s in files.samples} == every
    fewer = files.without(["train/bee/a.jpg", "val/a/1.jpg", "train/none.jpg"])
    assert list(fewer.names()) == sorted(every - {"train/bee/a.jpg", "val/a/1.jpg"})
    assert len(fewer.samples) == len(list(fewer.samples)) == len(every) - 2
    assert all(sample in files.samples for sample in fewer.samples)
    (gone,) = [s for s in files.samples if s.image == "val/a/1.jpg"]
    assert gone not in fewer.samples


@pytest.mark.parametrize("how", ["size", "time", "gone", "class"])
def test_a_file_written_anew_under_its_name_changes_the_fingerprint(split: Path, how: str) -> None:
    """Which the index does not notice."""
    index, file = file_index(split), split / "bee/a.jpg"
    before = sizes_and_times(split, index)
    assert sizes_and_times(split, file_index(split)) == before
    found = file.stat()
    if how == "size":
        file.write_bytes(file.read_bytes() + b"x")
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif how == "time":
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    elif how == "gone":
        file.unlink()
    else:
        (split / "bee").rename(split / "moved")
    assert sizes_and_times(split, index) != before


@pytest.mark.parametrize("mapped", [True, False])
def test_memory_per_image_is_that_of_its_name(tmp_path: Path, mapped: bool) -> None:
    """Python's own: a list of paths takes some 500 bytes each, this none when it is mapped."""
    split, count = tmp_path / "imagenet/train", 2000
    for name in ("n01440764", "n01443537"):
        (split / name).mkdir(parents=True)
        for at in range(count):
            (split / name / f"{name}_{at}.JPEG").touch()
    names = sum(len(f"n01440764_{at}.JPEG") + 1 for at in range(count)) * 2
    if mapped:
        everything(split)
    tracemalloc.start()
    try:
        samples = read_index(split.parent, "train").samples
        taken, peak = tracemalloc.get_traced_memory()
        for at in range(0, len(samples), 7):
            samples[at]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(samples) == 2 * count
    assert after - taken < 20_000
    if mapped:
        assert peak < 100_000
    else:
        # Of the listing: the names, 8 bytes each, and the folder of the moment.
        assert peak < names * 3 + 8 * 3 * 2 * count + 200 * count


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@settings(max_examples=30, deadline=None)
@given(found=st.lists(names, max_size=30, unique=True))
def test_a_table_of_names_is_a_list_of_them(found: list[str]) -> None:
    found = sorted(found)
    table = NameTable.of(found)
    assert list(table) == table[:] == found
    assert [table.find(name) for name in found] == list(range(len(found)))
    assert table.find("\x7f") is None
    assert table[1:3] == found[1:3]
    if found:
        assert table[-1] == found[-1]
        assert table.find(found[0], 1) is None


def test_a_line_break_is_no_part_of_a_name() -> None:
    with pytest.raises(ValueError, match="line break"):
        NameTable.of(["a\nb"])
