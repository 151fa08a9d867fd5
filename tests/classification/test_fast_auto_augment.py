"""Fast AutoAugment: the authors' policies and ranges, policy files, and the trick."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from classification import policy as module
from classification.image_operations import MEAN_COLOR
from classification.policy import (
    POLICY_SPACE,
    apply_policy,
    apply_sub_policy,
    blank_square,
    expected_uses,
    strength_of,
)
from classification.policy_file import PolicyError, published_policy, read_policy, write_policy
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING, PRETRAINING
from classification.tricks import FastAutoAugment, RandAugment

# The first and the last sub-policy of each list in the authors' archive.py, and its length.
ARCHIVE = {
    "imagenet": (
        498,
        (("shear_y", 0.14143816458, 0.51312479161), ("sharpness", 0.92903162272, 0.97884062126)),
        (("auto_contrast", 0.54045085671, 0.74723878), ("equalize", 0.05649876539, 0.5628180219)),
    ),
    "cifar10": (
        493,
        (("contrast", 0.83206596885, 0.49884310562), ("translate_x", 0.41849883971, 0.39402308)),
        (("cutout", 0.75505200248, 0.08982367300), ("shear_x", 0.58449424173, 0.36051195083)),
    ),
    "svhn": (
        497,
        (("translate_x", 0.00157696512, 0.43180488809), ("invert", 0.73953072792, 0.75384443079)),
        (("contrast", 0.99328911, 0.46930063), ("posterize", 0.90330141, 0.57459023)),
    ),
}
# Ends of each operation's range in the authors' augmentations.py; translations of the side.
RANGES = {
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-0.45, 0.45),
    "translate_y": (-0.45, 0.45),
    "rotate": (-30, 30),
    "solarize": (0, 256),
    "contrast": (0.1, 1.9),
    "color": (0.1, 1.9),
    "brightness": (0.1, 1.9),
    "sharpness": (0.1, 1.9),
}


def noise(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", ARCHIVE)
def test_a_published_policy_is_the_authors(name: str) -> None:
    count, first, last = ARCHIVE[name]
    policy = published_policy(name)
    assert len(policy) == count
    for found, expected in ((policy[0], first), (policy[-1], last)):
        assert [step[0] for step in found] == [step[0] for step in expected]
        for step, theirs in zip(found, expected, strict=True):
            assert step[1:] == pytest.approx(theirs[1:], abs=5.1e-5)
    used = {step[0] for sub_policy in policy for step in sub_policy}
    assert used == set(POLICY_SPACE.operations)
    assert all(0 <= x <= 1 for sub_policy in policy for step in sub_policy for x in step[1:])


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("level", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_levels_run_from_one_end_of_the_authors_range_to_the_other(name: str, level: float) -> None:
    low, high = RANGES[name]
    expected = low + level * (high - low)
    found = strength_of(name, level, height=400, width=1000)
    if name.startswith("translate"):
        side = 1000 if name == "translate_x" else 400
        assert found == pytest.approx(expected * side, abs=1)  # cut to whole pixels
    else:
        assert found == pytest.approx(expected)
    mirrored = strength_of(name, level, height=400, width=1000, sign=-1)
    directed = name not in ("solarize", "contrast", "color", "brightness", "sharpness")
    assert mirrored == pytest.approx(-found if directed else found)


def test_posterize_keeps_as_many_bits_as_theirs() -> None:
    for level in np.linspace(0, 1, 101):
        found = strength_of("posterize", float(level), height=8, width=8)
        assert found == int(float(level) * (8 - 4) + 4)


@pytest.mark.parametrize(
    ("step", "theirs"),
    [
        (("brightness", 1.0, 0.9), lambda image: ImageEnhance.Brightness(image).enhance(1.72)),
        (("posterize", 1.0, 0.3), lambda image: ImageOps.posterize(image, 5)),
        (("solarize", 1.0, 0.25), lambda image: ImageOps.solarize(image, 64)),
        (("invert", 1.0, 0.1), ImageOps.invert),
        (("equalize", 1.0, 0.6), ImageOps.equalize),
    ],
)
def test_a_step_does_what_pillow_does_at_the_authors_number(step: tuple, theirs: object) -> None:
    image = noise()
    found = apply_sub_policy(image, (step,), np.random.default_rng(0))
    expected = np.asarray(theirs(Image.fromarray(image)))  # type: ignore[operator]
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_blank_square_loses_what_lies_outside() -> None:
    image = noise(6, 6)
    found = blank_square(image, length=4, center=(0, 5))  # rows -2..1, columns 3..6
    blank = (found == MEAN_COLOR).all(axis=2)
    assert np.argwhere(blank).tolist() == [[0, 3], [0, 4], [0, 5], [1, 3], [1, 4], [1, 5]]
    assert np.array_equal(found[~blank], image[~blank])


def test_what_has_no_probability_is_not_done() -> None:
    image = noise()
    steps = tuple((name, 0.0, 1.0) for name in POLICY_SPACE.operations)
    for seed in range(20):
        assert apply_sub_policy(image, steps, np.random.default_rng(seed)) is image


def test_operations_come_as_often_as_the_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    done: Counter[str] = Counter()
    monkeypatch.setattr(module, "operate", lambda view, name, _: (done.update([name]), view)[1])
    policy = ((("rotate", 0.8, 0.9), ("color", 0.25, 0.1)), (("rotate", 0.2, 0.1),))
    n, rng, view = 4000, np.random.default_rng(0), noise(8, 8)
    for _ in range(n):
        apply_policy(view, policy, rng)
    # Half of the views get each sub-policy.
    expected = {"rotate": (0.8 + 0.2) / 2, "color": 0.25 / 2}
    assert expected_uses(policy) == pytest.approx(expected)
    for name, share in expected.items():
        assert abs(done[name] - n * share) < 5 * math.sqrt(n * share)


def test_a_view_is_a_function_of_its_generator() -> None:
    image = noise()
    before = image.copy()
    first, again, other = (
        FastAutoAugment().transform_view(image, np.random.default_rng(seed)) for seed in (1, 1, 4)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (first.shape, first.dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, before)


POLICY = ((("rotate", 0.7, 0.9), ("equalize", 0.4, 0.0)), (("cutout", 1.0, 1 / 3),))


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_policy(tmp_path / "policy.json", POLICY, source='by "hand": sub_policies')
    assert read_policy(tmp_path / "policy.json") == POLICY
    plain = json.loads((tmp_path / "policy.json").read_text())
    assert plain["sub_policies"] == [[list(step) for step in steps] for steps in POLICY]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{\n"sub_policies": [\n[["rotate", 0.7 0.9]]\n]}', 3, "not JSON"),
        ('{\n"sub_policies": [\n[["rotate", 1, 1]],\n[["rotat", 0.7, 0.9]]]}', 4, "rotate"),
        ('{"sub_policies": [\n[["rotate", 1, 1]], [["rotate", 1.2, 1]]]}', 2, "probability"),
        ('{"sub_policies": [\n\n[["rotate", 1, 1],\n["color", 1, NaN]]]}', 3, "level"),
        ('{"sub_policies": [[["rotate", 1]]]}', 1, "operation, probability, level"),
        ('{"sub_policies": [[["rotate", true, 1]]]}', 1, "probability"),
        ('{"sub_policies":\n[\n[]]}', 3, "list of steps"),
        ('{"sub_policies": []}', None, "expected"),
        ("[]", None, "expected"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int | None, says: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(PolicyError, match=says) as caught:
        FastAutoAugment(str(file))
    assert f"{file}" in str(caught.value)
    assert line is None or f"line {line}:" in str(caught.value)


def test_a_file_counts_by_what_is_in_it(tmp_path: Path) -> None:
    digests = []
    for name, policy in {"a": POLICY, "b": POLICY, "c": POLICY[:1]}.items():
        write_policy(tmp_path / f"{name}.json", policy, source=name)
        digests.append((Recipe() | FastAutoAugment(str(tmp_path / f"{name}.json"))).digest())
    assert digests[0] == digests[1] != digests[2]
    assert (Recipe() | FastAutoAugment("svhn")).digest() not in digests


@pytest.mark.parametrize("policy", ["imagenett", "search.txt", ""])
def test_an_unknown_policy_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match=r"imagenet, cifar10, svhn, search, or a \.json file"):
        FastAutoAugment(policy)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"no_such\.json"):
        FastAutoAugment("no_such.json")


def test_a_search_belongs_to_fine_tuning() -> None:
    searching = Recipe() | FastAutoAugment("search")
    FINE_TUNING.check("mine", searching)
    with pytest.raises(ValueError, match="fine-tuning"):
        PRETRAINING.check("mine", searching)
    PRETRAINING.check("mine", Recipe() | FastAutoAugment("cifar10"))
    with pytest.raises(ValueError, match="still to be found"):
        FastAutoAugment("search").transform_view(noise(), np.random.default_rng(0))
    with pytest.raises(ValueError, match="conflicts"):
        _ = searching | RandAugment(2, 9)
