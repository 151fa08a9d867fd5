"""No image of a group that is validated or tested on is learned from without its label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backbones.card import Card
from benchmarks.labelled_images import read_labelled
from benchmarks.schema import FineTuneBudget
from benchmarks.unlabelled_images import find_unlabelled
from classification.finetune_task import FineTuneTask
from classification.frozen_features import labels_of
from classification.splits import make_folds

PATIENTS, EACH = 12, 6


@pytest.fixture
def rows(tmp_path: Path) -> dict[Path, tuple[str, str]]:
    """(group, split) of each image of a CSV file: two patients of twelve have test images, one of
    these training images, too."""
    rng, found = np.random.default_rng(0), {}
    lines = ["path,label,split,group"]
    for number in range(PATIENTS * EACH):
        name, patient = f"{number}.png", number // EACH
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / name)
        split = "test" if patient == 0 or (patient == 1 and number % 2) else "train"
        lines.append(f"{name},{('cat', 'dog')[number % 3 == 0]},{split},p{patient}")
        found[tmp_path / name] = (f"p{patient}", split)
    (tmp_path / "images.csv").write_text("\n".join(lines))
    return found


@pytest.mark.parametrize("validation", ["holdout", "kfold", "repeated"])
@pytest.mark.parametrize("labelled", [5, 12])
def test_an_image_of_a_held_group_is_never_learned_from(
    rows: dict[Path, tuple[str, str]], tmp_path: Path, validation: Any, labelled: int
) -> None:
    budget = FineTuneBudget(
        root=tmp_path / "images.csv", labelled_per_class=labelled, validation=validation, folds=3
    )
    train, test = (read_labelled(budget, split) for split in ("train", "test"))
    assert train is not None
    assert test is not None
    pool = find_unlabelled(budget).paths
    task = FineTuneTask(
        artifact=tmp_path,
        card=Card.model_construct(),
        recipe="plain",
        budget=budget,
        train=train,
        test=test,
        protocol={},
        name="own",
        seed=0,
        auto_accumulate=False,
        unlabelled=pool,
    )
    folds = make_folds(
        labels_of(train.samples),
        train.groups,
        validation=validation,
        folds=3,
        share=0.3,
        seed=0,
        classes=train.classes,
    )
    tested = {group for group, split in rows.values() if split == "test"}
    assert tested == {"p0", "p1"}
    assert {rows[path][0] for path in pool} & tested, "one of them has images without a label"
    for fold in folds:
        held = {rows[train.samples[place][0]][0] for place in fold.validation} | tested
        learned = task.unlabelled_of(fold)
        # All others may be: by the file of labels itself.
        assert learned == [path for path in pool if rows[path][0] not in held]
        assert len(learned) < len(pool)
        assert learned
