"""How one's own images are divided is said, or refused, before any job."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.errors import DataError
from benchmarks.schema import Benchmark, FineTuneBudget
from eval import cli
from eval.own_division import division_in_words


def of(root: Path, **changes: object) -> Benchmark:
    return Benchmark(name="own", finetune=FineTuneBudget(root=root, **changes))


def names(root: Path, **counts: int) -> Path:
    """`<root>/<class>/<n>.png`, so many of each class; the files are empty."""
    for folder, count in counts.items():
        place = root / folder.replace("_", "/")
        place.mkdir(parents=True)
        for number in range(count):
            (place / f"{number}.png").touch()
    return root


def test_the_sizes_of_all_parts_are_said(tmp_path: Path) -> None:
    tested = names(tmp_path / "a", train_cat=80, train_dog=80, val_cat=30, val_dog=30)
    assert division_in_words(of(tested), [0, 1]) == (
        "finetune: 128 images to train on, 32 to validate (20%, stratified), 60 test images, "
        "2 classes"
    )
    alone = names(tmp_path / "b", cat=8, dog=8, emu=8)
    assert division_in_words(of(alone, validation="kfold", folds=3), [0]) == (
        "finetune: 24 images in 3 folds (stratified), no test images, 3 classes"
    )
    repeated = of(alone, validation="repeated", folds=4, validation_share=0.25)
    assert division_in_words(repeated, [0]) == (
        "finetune: 4 times 18 images to train on, 6 to validate (25%, stratified), no test "
        "images, 3 classes"
    )
    rows = [
        f"{group}{i}.png,{'cat' if i % 2 else 'dog'},{group}" for group in "vwxyz" for i in (1, 2)
    ]
    listed = tmp_path / "c.csv"
    listed.write_text("\n".join(["path,label,group", *rows]) + "\n")
    assert division_in_words(of(listed), [0]) == (
        "finetune: 8 images to train on, 2 to validate (20%, 5 groups kept whole), no test "
        "images, 2 classes"
    )


def test_what_cannot_be_divided_is_refused_by_the_run_and_the_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names(tmp_path / "photos", cat=3, dog=3)
    for number, path in enumerate(sorted(tmp_path.glob("photos/*/*.png"))):
        assert cv2.imwrite(str(path), np.full((6, 6, 3), 9 * number, np.uint8))
    settings = "root = 'photos'\nworkers = 0\nvalidation = 'kfold'\nfolds = 5\n"
    (tmp_path / "own.toml").write_text(f"name = 'own'\n[finetune]\n{settings}")
    with pytest.raises(DataError, match="finetune data of benchmark own: class cat has 3 images"):
        division_in_words(of(tmp_path / "photos", validation="kfold"), [0])
    command = ["run", "--benchmark", "own.toml", "--backbone", "scratch:resnet18d~plain"]
    for more in (["--dry-run"], []):
        assert cli.main([*command, *more]) == 2
        said = capsys.readouterr()
        assert "error: finetune data of benchmark own: class cat has 3 images" in said.err
        assert "let folds be at most 3" in said.err
        assert "[1/" not in said.out  # no job was begun
    (tmp_path / "own.toml").write_text(f"name = 'own'\n[finetune]\n{settings.replace('5', '3')}")
    assert cli.main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("finetune: 6 images in 3 folds") == 1
