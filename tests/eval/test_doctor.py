"""`trickle doctor`: each trouble is named with what to do; a healthy machine has none."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fact_table import FactTable, FileFacts
from benchmarks.manifest import Manifest, write_manifest
from benchmarks.schema import load_benchmark
from engine.locks import Lock
from eval import kernels, machine, versions
from eval.cli import main
from eval.data_roots import check_data, folder_state
from eval.doctor import healthy, to_report, to_text
from eval.findings import Finding, Section, amount
from eval.kernels import TorchProbe, check_devices, check_kernels
from eval.machine import check_machine, check_shared_memory, shared_memory_need
from eval.places import check_cache, check_out
from eval.versions import check_versions

ROOT = Path(__file__).parents[2]
START = "from eval.cli import main; raise SystemExit(main())"
WORKING: dict[str, Any] = {"cuda_build": None, "gpus": [], "torchvision": None, "mmcv": "absent"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRICKLE_CACHE", str(folder))
    return folder


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's answer without the seconds that it takes."""
    monkeypatch.setattr(TorchProbe, "__init__", lambda self: None)
    monkeypatch.setattr(TorchProbe, "answer", lambda self: WORKING)
    monkeypatch.setattr(TorchProbe, "close", lambda self: None)


def wrong(section: Section) -> list[str]:
    return [finding.what for finding in section.findings if finding.level == "wrong"]


def notes(section: Section) -> list[str]:
    return [finding.what for finding in section.findings if finding.level == "note"]


def test_this_machine_is_looked_at_in_seconds(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", START, "doctor", "--json", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "TRICKLE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["healthy"] else 1)
    assert report["wrong"] == []
    assert report["sections"]["versions"]["torch"].startswith("2.")
    assert report["sections"]["kernels"]["mmcv_operators"] == "torchvision's kernels"
    assert report["sections"]["kernels"]["jpeg"] != "none"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8
    assert not (tmp_path / "out").exists(), "it changes nothing"
    assert not (tmp_path / "cache").exists(), "it changes nothing"


def test_what_is_wrong_comes_last_and_decides_the_exit_code(
    make_benchmark: Any,
    tmp_path: Path,
    cache: Path,
    no_torch: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toml = make_benchmark(tmp_path)
    assert main(["doctor", "--benchmark", str(toml)]) == 0
    out = capsys.readouterr().out
    assert "Nothing is wrong." in out.splitlines()[-1]
    assert f"{tmp_path / 'imagenet'}: there, 33 files" in out  # 3 classes x (8 + 3)

    (tmp_path / "imagenet").rename(tmp_path / "elsewhere")
    assert main(["doctor", "--benchmark", str(toml)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.startswith("What is wrong")]
    said = "\n".join(lines[place:])
    assert str(tmp_path / "imagenet") in said
    assert "missing" in said
    assert "root" in said, "what to do"


@pytest.mark.parametrize(
    ("harm", "state"),
    [
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "missing"),
        (lambda folder: (folder.rename(folder.with_name("x")), folder.mkdir()), "empty"),
        (lambda folder: (folder.rename(folder.with_name("x")), folder.touch()), "not a folder"),
    ],
)
def test_the_state_of_a_data_root(
    harm: Callable[[Path], Any], state: str, make_benchmark: Any, tmp_path: Path
) -> None:
    toml = make_benchmark(tmp_path)
    assert wrong(check_data(str(toml), asked=True)) == []
    harm(tmp_path / "VOCdevkit")
    (said,) = wrong(check_data(str(toml), asked=True))
    assert "detection" in said
    assert f"{state}: {tmp_path / 'VOCdevkit'}" in said
    assert wrong(check_data(str(toml), asked=False)) == []


def test_which_variable_sets_a_root(
    make_benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = make_benchmark(tmp_path)
    text = toml.read_text().replace('root = "imagenet"', 'root = "$MY_IMAGES/imagenet"')
    toml.write_text(text)
    monkeypatch.delenv("MY_IMAGES", raising=False)
    (said,) = wrong(check_data(str(toml), asked=True))
    assert "MY_IMAGES is not set" in said
    monkeypatch.setenv("MY_IMAGES", str(tmp_path))
    section = check_data(str(toml), asked=True)
    assert section.findings == ()
    assert "; set by MY_IMAGES" in str(section.facts["pretraining"])
    monkeypatch.setenv("MY_IMAGES", str(tmp_path / "nowhere"))
    (finding,) = check_data(str(toml), asked=True).findings
    assert "let MY_IMAGES name another folder" in finding.fix


def test_a_large_folder_is_not_counted_to_the_end(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").touch()
    state = folder_state(tmp_path, seconds=0)
    assert state.usable
    assert "more than" in state.text
    assert folder_state(tmp_path).text == "there, 3 files"


def test_a_benchmark_that_is_none(tmp_path: Path) -> None:
    (said,) = wrong(check_data("minni", asked=True))
    assert "'minni'" in said
    file = tmp_path / "bad.toml"
    file.write_text("[pretraining\n")
    (said,) = wrong(check_data(str(file), asked=True))
    assert str(file) in said


@pytest.mark.parametrize("name", ["cache", "out"])
def test_a_folder_that_cannot_be_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("TRICKLE_CACHE", str(blocked / "cache"))
    section = check_cache() if name == "cache" else check_out(blocked / "out")
    (said,) = wrong(section)
    assert str(blocked) in said
    assert "cannot be written" in said
    assert section.facts["writable"] is False
    if name == "cache":
        assert "TRICKLE_CACHE" in section.findings[0].fix


def test_a_full_disk(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"total": 2**40, "free": 5 * 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    (said,) = wrong(check_cache())
    assert "5.0 MiB are free" in said


def test_what_lies_in_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "records").mkdir(parents=True)
    (out / "records/resnet18d_mixup.json").write_text('{"schema": 1')
    (out / "artifacts/broken").mkdir(parents=True)
    (out / "artifacts/broken/card.json").write_text("{}")
    (out / "work/job").mkdir(parents=True)
    (out / "work/job/iter_10.safetensors").write_bytes(bytes(1000))
    (out / "work/job/iter_20.safetensors.damaged").write_bytes(bytes(500))
    section = check_out(out)
    assert section.facts["records_bad"] == 1
    assert (section.facts["checkpoints"], section.facts["checkpoints_size_bytes"]) == (1, 1500)
    assert str(out / "work/job/iter_20.safetensors.damaged") in notes(section)[0]
    said = " ".join(wrong(section))
    assert str(out / "records/resnet18d_mixup.json") in said
    assert str(out / "artifacts/broken") in said
    assert all(finding.fix for finding in section.findings)


@pytest.mark.parametrize("kind", ["flock", "files"])
def test_who_holds_a_lock(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICKLE_LOCKS", kind)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/a.lock").touch()  # its process was killed
    lock = Lock(tmp_path / "locks/b.lock")
    assert lock.acquire()
    left, held = check_out(tmp_path).facts["locks"]
    assert left.startswith("a.lock: free")
    assert held.startswith(f"b.lock: held by process {os.getpid()} on ")
    lock.release()
    assert len(check_out(tmp_path).facts["locks"]) == 1


def test_data_that_was_validated_in_full(make_benchmark: Any, tmp_path: Path, cache: Path) -> None:
    toml = make_benchmark(tmp_path)
    assert "never validated" in str(check_data(str(toml), asked=True).facts["detection"])
    facts = {"a.jpg": FileFacts(size=1, mtime_ns=0, sha256="0" * 64)}
    manifest = Manifest(files=FactTable.of(facts), left_out=(), read_on="2026-11-22")
    write_manifest("detection", tmp_path / "VOCdevkit", manifest)
    said = str(check_data(str(toml), asked=True).facts["detection"])
    assert said.endswith("validated on 2026-11-22, 1 files")

    (file,) = (cache / "manifests").iterdir()
    file.write_bytes(file.read_bytes().replace(b"a.jpg", b"b.jpg"))
    section = check_data(str(toml), asked=True)
    assert f"{file} is damaged" in str(section.facts["detection"])
    (said,) = wrong(section)
    assert f"{file} is damaged" in said
    assert wrong(check_data(str(toml), asked=False)) == []


def test_versions_beside_the_tested_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {name: versions.installed(name) for name in versions.SHOWN}
    lock = tmp_path / "requirements.lock"
    lock.write_text("".join(f"{n}=={v} \\\n    --hash=sha256:0\n" for n, v in numbers.items()))
    assert check_versions(lock).findings == ()

    lock.write_text(lock.read_text().replace(f"timm=={numbers['timm']}", "timm==1.0.15"))
    section = check_versions(lock)
    assert wrong(section) == []
    assert notes(section) == [f"timm {numbers['timm']} is installed; 1.0.15 is what was tested"]

    changed = {**numbers, "setuptools": "82.0.1", "mmdet": None}
    monkeypatch.setattr(versions, "installed", changed.get)
    said = wrong(check_versions(lock))
    assert "mmdet is not installed" in said
    assert any("setuptools 82.0.1" in what and "<82" in what for what in said)


@pytest.mark.parametrize(
    ("size", "is_wrong"), [(64 * 2**20, True), (8 * 2**30, False), (None, True)]
)
def test_shared_memory_beside_what_workers_need(
    size: int | None, is_wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = load_benchmark("paper")
    # 16 workers hold 2 batches of 1024 images of 224 x 224 pixels in 3 bytes.
    need = 16 * 2 * 1024 * 224 * 224 * 3
    assert shared_memory_need(paper) == (need, "pretraining")
    folder = tmp_path if size is not None else tmp_path / "absent"
    usage = type("Usage", (), {"total": size, "free": size})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    section = check_shared_memory(paper, folder)
    assert bool(wrong(section)) is is_wrong
    if is_wrong and size is not None:
        assert "64.0 MiB free" in wrong(section)[0]
        assert "--shm-size" in section.findings[0].fix
        assert "pretraining.workers" in section.findings[0].fix


def test_no_workers_need_no_shared_memory(tmp_path: Path) -> None:
    mini = load_benchmark("mini")
    alone = mini.model_copy(
        update={"pretraining": mini.pretraining.model_copy(update={"workers": 0})}
    )
    assert check_shared_memory(alone, tmp_path / "absent").findings == ()


def test_too_little_memory_and_too_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: 512 * 2**20)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, 256))
    said = " ".join(wrong(check_machine()))
    assert "512.0 MiB of memory" in said
    assert "256 files" in said


def test_a_torch_that_does_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "probe.py"
    monkeypatch.setattr(kernels, "_PROBE", script)
    for text, said in [
        ("raise ImportError('libcudart.so.13: cannot open')", "libcudart.so.13"),
        ("import os; os.kill(os.getpid(), 4)", "signal 4"),
        ("print('no JSON')", "no JSON"),
    ]:
        script.write_text(text)
        answer = TorchProbe().answer()
        (what,) = wrong(check_devices(answer))
        assert said in what
        check_kernels(answer)
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(kernels, "PROBE_SECONDS", 0.2)
    assert "no answer" in str(TorchProbe().answer())


def test_a_driver_without_a_gpu_and_kernels_of_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.1  Tue\nGCC\n")
    monkeypatch.setattr(kernels, "_DRIVER", driver)
    (what,) = wrong(check_devices(WORKING))
    assert "580.1" in what
    (what,) = wrong(check_kernels({**WORKING, "torchvision": "undefined symbol: _ZN3c10\nmore"}))
    assert "undefined symbol" in what
    section = check_kernels({**WORKING, "mmcv": "undefined symbol"})
    assert wrong(section) == []
    assert len(notes(section)) == 1
    assert check_kernels({**WORKING, "mmcv": None}).facts["mmcv_operators"] == "compiled mmcv"


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    evil = "a\x1b[2Jb\nHealthy\r\u202ec\udcff"
    section = Section(
        title=f"benchmark {evil}",
        facts={"root": evil, "list": [evil]},
        findings=(Finding(what=evil, fix=evil),),
    )
    text = to_text([section])
    text.encode("utf-8")
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "Healthy" not in [line.strip() for line in text.splitlines()]
    assert r"a\x1b[2Jb Healthy \u202ec\udcff" in text
    assert json.loads(json.dumps(to_report([section])))["wrong"][0]["what"] == evil
    assert not healthy([section])


def test_amounts() -> None:
    assert [amount(n) for n in (0, 1023, 1536, 2**30, 5 * 2**40)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "1.0 GiB",
        "5.0 TiB",
    ]
