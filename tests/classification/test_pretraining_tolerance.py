"""A pretraining on data of which some is left out says so in its result and its artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backbones import read_card
from classification.pretrain import main
from engine.evidence import FILE_NAME, read_evidence
from engine.results import StageResult


@pytest.mark.slow
@pytest.mark.reliability(6, "The number of tolerated files stands in the result and its protocol")
def test_what_was_left_out_stands_in_the_result(
    make_benchmark: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_mmengine: Callable[[], None],
) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    toml = make_benchmark(tmp_path)
    for name in ("train/red/1.jpg", "val/blue/2.jpg"):
        (tmp_path / "imagenet" / name).write_bytes(b"<html>")
    words = ["--backbone", "resnet18d_standard", "--benchmark", str(toml)]
    words += ["--artifact", str(tmp_path / "artifact"), "--work-dir", str(tmp_path / "work")]
    words += ["--result", str(tmp_path / "result.json")]
    with pytest.raises(ValueError, match=r"(?s)2 files cannot be used.*red/1\.jpg.*blue/2\.jpg"):
        main(words)
    forget_mmengine()
    main([*words, "--tolerate", "3"])
    result = StageResult.read(tmp_path / "result.json")
    assert result.metrics["top1"].n == 8
    evidence = read_evidence(tmp_path / FILE_NAME, sha256=result.evidence_sha256)
    assert evidence.images == (
        *("blue/0.jpg", "blue/1.jpg"),
        *(f"{name}/{at}.jpg" for name in ("green", "red") for at in range(3)),
    )
    assert evidence.arrays["label"].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert result.protocol["left_out"]["files"] == 2
    assert "2 unusable files were left out (--tolerate 3)" in result.notes
    assert (
        "2 unusable files were left out (--tolerate 3)"
        in read_card(tmp_path / "artifact").notes["remarks"]
    )
