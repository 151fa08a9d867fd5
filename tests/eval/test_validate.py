"""`trickle validate`: a summary and exit code 0, or the bad files and exit code 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.cli import main


@pytest.fixture
def toml(
    make_benchmark: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    return make_benchmark(tmp_path)


@pytest.fixture
def trickle(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return (code, *capfd.readouterr())

    return run


Trickle = Callable[..., tuple[int, str, str]]


@pytest.mark.reliability(11, "trickle validate sums up good data and says 0")
def test_good_data(toml: Path, trickle: Trickle) -> None:
    code, out, err = trickle("validate", toml)
    assert code == 0
    assert "reading squares, pretraining: 33/33 images" in err
    assert "train: 24 images, 3 classes" in out
    assert "VOC2007/test: 5 images" in out
    assert out.count("digest of all content: ") == 3


@pytest.mark.reliability(11, "trickle validate names every bad file and says 2")
def test_bad_data(toml: Path, trickle: Trickle) -> None:
    for number in range(3):
        (toml.parent / f"imagenet/train/red/{number}.jpg").write_bytes(b"<html>")
    (toml.parent / "VOCdevkit/VOC2007/Annotations/test1.xml").write_text("")
    code, _, err = trickle("validate", toml)
    assert code == 2
    assert "4 files cannot be used:" in err
    assert all(f"red/{number}.jpg is neither" in err for number in range(3))
    assert "test1.xml is not XML" in err
    assert "--tolerate 4" in err
    assert trickle("validate", toml, "--tolerate", 3)[0] == 2
    code, out, _ = trickle("validate", toml, "--tolerate", 4)
    assert code == 0
    assert "3 left out:" in out


def test_as_json(toml: Path, trickle: Trickle) -> None:
    (toml.parent / "imagenet/val/red/0.jpg").write_bytes(b"")
    code, out, _ = trickle("validate", toml, "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (2, False)
    stage = found["stages"]["pretraining"]
    assert list(stage["problems"]) == ["val/red/0.jpg"]
    assert (stage["files"], stage["images"]) == (32, {"train": 24, "val": 8})


@pytest.mark.reliability(11, "trickle validate --full refuses what has changed, naming it")
def test_full(toml: Path, trickle: Trickle) -> None:
    file = toml.parent / "ADEChallengeData2016/images/training/1.jpg"
    other = (toml.parent / "ADEChallengeData2016/images/training/2.jpg").read_bytes()
    assert trickle("validate", toml)[0] == 0
    file.write_bytes(other)
    code, _, err = trickle("validate", toml, "--full")
    assert code == 2
    assert f"{file} has other content" in err
    code, out, _ = trickle("validate", toml)
    assert code == 0
    assert "1 changed since all was last read" in out
    assert trickle("validate", toml, "--full")[0] == 0


def test_full_without_anything_to_compare_with_says_so(toml: Path, trickle: Trickle) -> None:
    code, out, _ = trickle("validate", toml, "--full")
    assert code == 0
    assert out.count("nothing to compare with: it was never read in full; read now") == 3
    code, out, _ = trickle("validate", toml, "--full")
    assert code == 0
    assert "nothing to compare with" not in out


def test_full_with_a_damaged_manifest(toml: Path, trickle: Trickle, tmp_path: Path) -> None:
    trickle("validate", toml)
    for file in (tmp_path / "cache/manifests").iterdir():
        file.write_bytes(file.read_bytes().replace(b"jpg", b"png", 1))
    for _ in range(2):
        code, _, err = trickle("validate", toml, "--full")
        assert code == 2
        assert err.count(".arrays is damaged") == 3
        assert "leaving out --full" in err
    code, _, err = trickle("run", "--backbone", "scratch:resnet18d", "--benchmark", toml, "--full",
                           "--dry-run")  # fmt: skip
    assert code == 2
    assert ".arrays is damaged" in err
    code, out, _ = trickle("validate", toml)
    assert code == 0
    assert out.count(".arrays is damaged; read now, and compared from now on") == 3
    assert trickle("validate", toml, "--full")[0] == 0


def test_a_dry_run_compares_every_byte_too(toml: Path, trickle: Trickle) -> None:
    words = ("run", "--backbone", "scratch:resnet18d", "--benchmark", toml, "--dry-run")
    trickle("validate", toml)
    assert trickle(*words, "--full")[0] == 0
    file = toml.parent / "ADEChallengeData2016/images/training/1.jpg"
    file.write_bytes((file.parent / "2.jpg").read_bytes())
    assert trickle(*words)[0] == 0
    code, _, err = trickle(*words, "--full")
    assert code == 2
    assert f"{file} has other content" in err


@pytest.mark.parametrize("where", ["cache", "cache/manifests", "cache/checks"])
def test_a_cache_that_cannot_be_written(
    toml: Path, trickle: Trickle, tmp_path: Path, where: str
) -> None:
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text("a file")
    code, out, _ = trickle("validate", toml)
    assert code == 0  # the data can be used
    assert out.count(f"what was found cannot be written to {tmp_path}/cache") == 3
    assert "TRICKLE_CACHE" in out
    assert (
        json.loads(trickle("validate", toml, "--json")[1])["stages"]["detection"]["kept"] is False
    )


def test_one_test_image_among_the_training_images(toml: Path, trickle: Trickle) -> None:
    root = toml.parent / "imagenet"
    (root / "val/red/copy.jpg").write_bytes((root / "train/red/1.jpg").read_bytes())
    assert "  1 test image among the training images:\n" in trickle("validate", toml)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--tolerate", "-1"], "0 or more"), (["--workers", "0"], "1 or more")],
)
def test_wrong_usage(
    toml: Path, words: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["validate", str(toml), *words])
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_data_that_is_not_there(toml: Path, trickle: Trickle) -> None:
    (toml.parent / "imagenet").rename(toml.parent / "elsewhere")
    code, _, err = trickle("validate", toml)
    assert code == 2
    assert "imagenet, for pretraining: it should hold train/<class>/*.JPEG" in err
    assert "let each root in the file of benchmark" in err


def test_names_in_the_data_cannot_speak_to_the_terminal(toml: Path, trickle: Trickle) -> None:
    file = toml.parent / "VOCdevkit/VOC2007/Annotations/test0.xml"
    file.write_text(file.read_text().replace("<name>", "<name>\x9b31m\u202e", 1))
    code, out, err = trickle("validate", toml)
    assert code == 2
    assert "test0.xml" in err
    assert not {"\x9b", "\u202e"} & set(out + err)
