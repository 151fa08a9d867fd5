"""What a fine-tuning leaves of one's own images, on pictures of which all is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from classification.evidence import Answers, answers_in, picture_of
from classification.own_images import (
    SLICED,
    Judged,
    error_picture,
    findings_in,
    finetune_evidence,
    pair_pictures,
    sliced_facts,
)
from engine.evidence import Evidence, read_evidence

CLASSES = ("cat", "dog")
TESTED = 8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Eight tested images and four others: others/0 is a copy of 2 in half its size, others/1 has
    the bytes of others/2, others/3 is damaged; 5, a dog by its label, is surely a cat."""
    folder = tmp_path_factory.mktemp("own")
    tested, others = [], []
    for at in range(TESTED + 4):
        noise = gaussian_filter(np.random.default_rng(at).normal(size=(96, 128)), 9)
        grey = (128 + 100 * noise / np.abs(noise).max()).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, axis=2)
        is_tested = at < TESTED
        name = f"{'val' if is_tested else 'train'}/{CLASSES[at % 2]}/{at}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), image)
        (tested if is_tested else others).append((folder / name, at % 2))
    original = cv2.imread(str(tested[2][0]))
    half = cv2.resize(original, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(others[0][0]), half)
    others[1][0].write_bytes(others[2][0].read_bytes())
    others[3][0].write_bytes(b"no image")
    label = np.arange(TESTED, dtype=np.int32) % 2
    p = np.where(label == 0, 0.9, 0.1)
    p[5] = 0.99
    p[6] = 0.55
    p = np.stack([p, 1 - p], axis=1).astype(np.float32)
    own = p[np.arange(TESTED), label]
    answers = Answers(
        label=label,
        prediction=p.argmax(axis=1).astype(np.int32),
        confidence=p.max(axis=1),
        label_confidence=own,
        label_rank=(own < 0.5).astype(np.int32),
    )
    trained = np.array([[0.8, 0.2], [0.9, 0.1], [0.7, 0.3]], np.float32)
    evidence = finetune_evidence(
        answers,
        classes=CLASSES,
        tested=tested,
        others=others,
        judged=[
            Judged(samples=tested, probabilities=p),
            Judged(samples=others[:3], probabilities=trained),
        ],
        folder=folder,
        kind="test",
        left_out=["train/cat/gone.png"],
    )
    evidence.write(folder / "evidence.safetensors")
    return read_evidence(folder / "evidence.safetensors")


def test_names_answers_and_facts_are_of_the_tested_images(made: Evidence) -> None:
    assert made.task == "finetune"
    assert made.images[:2] == ("val/cat/0.png", "val/dog/1.png")
    assert len(answers_in(made).label) == TESTED
    facts = sliced_facts(made)
    assert tuple(facts) == SLICED
    assert facts["width"].tolist() == [128] * TESTED
    assert facts["aspect_ratio"] == pytest.approx(np.full(TESTED, 128 / 96))
    assert made.arrays["image_hash"].shape == (TESTED,)


def test_the_flipped_label_is_found_among_the_tested(made: Evidence) -> None:
    """Of the others dog/9 gets 0.1, which is the mean of the dogs: not above the cats' 0.75, as
    which it is given 0.9, which is above."""
    found = findings_in(made)
    assert found is not None
    errors = [(e.image.name, e.image.tested, e.image.label, e.likely) for e in found.label_errors]
    assert errors == [
        ("val/dog/5.png", True, "dog", "cat"),
        ("train/dog/9.png", False, "dog", "cat"),
    ]
    assert found.label_errors[0].probability == pytest.approx(0.01)
    assert found.label_errors[0].margin == pytest.approx(-0.98)
    assert (found.n_label_errors, found.n_judged) == (2, TESTED + 3)
    assert error_picture(made, 0)
    assert error_picture(made, 1)
    assert error_picture(made, 2) is None


def test_pairs_within_and_across_the_splits(made: Evidence) -> None:
    found = findings_in(made)
    assert found is not None
    pairs = [(p.first.name, p.second.name, p.leaks) for p in found.pairs]
    assert pairs == [
        ("val/cat/2.png", "train/cat/8.png", True),
        ("train/dog/9.png", "train/cat/10.png", False),
    ]
    assert [p.distance < 0 for p in found.pairs] == [False, True]
    assert (found.n_pairs, found.n_leaks, found.n_tested, found.n_others) == (2, 1, TESTED, 4)
    for number in range(2):
        assert all(each.startswith(b"\xff\xd8") for each in pair_pictures(made, number))
    assert pair_pictures(made, 2) is None


def test_what_cannot_be_used_is_named_with_the_reason(made: Evidence) -> None:
    found = findings_in(made)
    assert found is not None
    assert [bad.name for bad in found.unusable] == ["train/cat/gone.png", "train/dog/11.png"]
    assert "neither a JPEG nor a PNG" in found.unusable[1].reason
    assert "/tmp" not in found.unusable[0].reason + found.unusable[1].reason
    assert found.n_unusable == 2


def test_the_least_sure_image_has_a_picture(made: Evidence) -> None:
    assert picture_of(made, 6) is not None


def test_odd_evidence_is_refused(made: Evidence) -> None:
    def but(**arrays: np.ndarray) -> Evidence:
        return Evidence(
            task="finetune",
            classes=made.classes,
            images=made.images,
            arrays={**made.arrays, **arrays},
        )

    for text in (b"no json", b'{"tested": "other"}', b'{"tested": "test", "n_tested": -1}'):
        with pytest.raises(ValueError, match="findings of its evidence"):
            findings_in(but(findings=np.frombuffer(text, np.uint8)))
    with pytest.raises(ValueError, match="image_width"):
        sliced_facts(but(image_width=np.ones(3, np.int32)))
    nothing = Evidence(task="finetune", classes=CLASSES, images=(), arrays={})
    assert findings_in(nothing) is None
    assert sliced_facts(nothing) == {}
