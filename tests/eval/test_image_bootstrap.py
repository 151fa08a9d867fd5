"""Differences by image: every draw is the metric of the images that were drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detection.scored_image import ScoredImage
from detection.voc_average_precision import voc_average_precisions
from engine.evidence import Evidence
from engine.mmcv_ops import install
from engine.results import Metric
from eval.image_bootstrap import FEWEST_DRAWS, ImageBootstrap, compare, resample, weights
from eval.records import Record
from eval.summary import RowName, make_bootstrap, make_table

Make = Callable[..., Record]
IMAGES, CLASSES = 12, 3
NAMES = tuple(f"{number}.jpg" for number in range(IMAGES))


def detected(seed: int) -> tuple[Evidence, list[ScoredImage]]:
    """The same as evidence and image by image; class 2 is rare, images 0 to 2 hold nothing."""
    rng, images = np.random.default_rng(seed), []
    for number in range(IMAGES):
        count = 0 if number < 3 else rng.integers(1, 5)
        corner, sides = rng.uniform(0, 60, (count, 2)), rng.uniform(8, 40, (count, 2))
        truth = np.concatenate([corner, corner + sides], 1).astype(np.float32)
        labels = rng.choice(CLASSES, count, p=[0.5, 0.45, 0.05])
        found = np.concatenate([truth, truth, rng.uniform(0, 50, (6, 4)).astype(np.float32)])
        found = found + rng.normal(0, 3, found.shape).astype(np.float32)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        images.append(
            ScoredImage(
                boxes=found,
                scores=rng.random(len(found)).astype(np.float32),
                labels=np.concatenate([labels, labels, rng.integers(0, CLASSES, 6)]),
                truth=truth,
                truth_labels=labels,
                difficult=rng.random(count) < 0.2,
                size=(100, 100),
            )
        )
    counts = [len(image.scores) for image in images]
    objects = [len(image.truth) for image in images]
    arrays = {
        "image": np.repeat(np.arange(IMAGES), counts).astype(np.int32),
        "box": np.concatenate([image.boxes for image in images]),
        "score": np.concatenate([image.scores for image in images]),
        "label": np.concatenate([image.labels for image in images]).astype(np.int32),
        "truth_image": np.repeat(np.arange(IMAGES), objects).astype(np.int32),
        "truth_box": np.concatenate([image.truth for image in images]),
        "truth_label": np.concatenate([image.truth_labels for image in images]).astype(np.int32),
        "truth_difficult": np.concatenate([image.difficult for image in images]).astype(np.uint8),
    }
    names = tuple(map(str, range(CLASSES)))
    return Evidence(task="detection", classes=names, images=NAMES, arrays=arrays), images


def segmented(seed: int) -> Evidence:
    """Class 2 is in one image alone, so that many draws are without it."""
    rng = np.random.default_rng(seed)
    labeled = rng.integers(0, 500, (IMAGES, CLASSES))
    labeled[1:, 2] = 0
    intersection = rng.binomial(labeled, 0.6)
    wrong = rng.integers(0, 200, (IMAGES, CLASSES))
    wrong[:, 2] = 0
    counts = {"intersection": intersection, "labeled": labeled, "predicted": intersection + wrong}
    return Evidence(
        task="segmentation",
        classes=tuple(map(str, range(CLASSES))),
        images=NAMES,
        arrays={name: array.astype(np.int32) for name, array in counts.items()},
    )


def classified(rank: list[int]) -> Evidence:
    return Evidence(
        task="classification",
        classes=("a", "b"),
        images=NAMES[: len(rank)],
        arrays={"label_rank": np.array(rank, np.int32)},
    )


def test_draws_are_the_same_for_all_and_begin_with_every_image_once() -> None:
    drawn = weights(IMAGES, 50)
    assert drawn.shape == (51, IMAGES)
    assert (drawn[0] == 1).all()
    assert (drawn.sum(1) == IMAGES).all()
    assert (drawn == weights(IMAGES, 50)).all()
    assert len({row.tobytes() for row in drawn}) > 40


@pytest.mark.parametrize(("seeds", "draws"), [(1, 3), pytest.param(3, 12, marks=pytest.mark.slow)])
def test_ap_of_every_draw_is_eval_maps_of_the_drawn_images(
    seeds: int, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setenv("TRICKLE_REFERENCE", "voc_ap")  # MMDetection's eval_map, image by image
    for seed in range(seeds):
        evidence, images = detected(seed)
        drawn = weights(IMAGES, draws)
        found = resample(evidence, drawn)
        for draw, times in enumerate(drawn):
            taken = [
                image for image, count in zip(images, times, strict=True) for _ in range(count)
            ]
            by_class = voc_average_precisions(taken, CLASSES)
            for name, mode in (("mAP_voc07", "voc07_11point"), ("mAP_area", "area")):
                present = [value for value in by_class[mode] if value is not None]
                expected = np.mean(present) if present else np.nan
                # eval_map adds up in float32.
                assert found[name][draw] == pytest.approx(expected, rel=1e-6, nan_ok=True)


def test_every_image_once_is_the_records_own_ap() -> None:
    for seed in range(10):
        evidence, images = detected(seed)
        found = resample(evidence, weights(IMAGES, 0))
        by_class = voc_average_precisions(images, CLASSES)
        for name, mode in (("mAP_voc07", "voc07_11point"), ("mAP_area", "area")):
            present = [value for value in by_class[mode] if value is not None]
            assert found[name][0] == pytest.approx(sum(present) / len(present), abs=1e-9)


def test_iou_of_every_draw_is_that_of_the_drawn_images() -> None:
    evidence = segmented(0)
    drawn = weights(IMAGES, 40)
    found = resample(evidence, drawn)
    without = 0
    for draw, times in enumerate(drawn):
        taken = [number for number, count in enumerate(times) for _ in range(count)]
        sums = {name: array[taken].astype(int).sum(0) for name, array in evidence.arrays.items()}
        ious, accuracies = [], []
        for label in range(CLASSES):
            inside = sums["intersection"][label]
            union = sums["predicted"][label] + sums["labeled"][label] - inside
            if union:
                ious.append(inside / union)
            if sums["labeled"][label]:
                accuracies.append(inside / sums["labeled"][label])
        without += len(ious) < CLASSES
        assert found["mIoU"][draw] == pytest.approx(100 * np.mean(ious), abs=1e-9)
        assert found["mAcc"][draw] == pytest.approx(100 * np.mean(accuracies), abs=1e-9)
        share = sums["intersection"].sum() / sums["labeled"].sum()
        assert found["aAcc"][draw] == pytest.approx(100 * share, abs=1e-9)
    assert without > 5  # a class that no drawn image has is left out of the mean


def test_top1_of_every_draw_is_that_of_the_drawn_images() -> None:
    rank = [0, 0, 3, 0, 7, 1, 0]
    drawn = weights(len(rank), 20)
    found = resample(classified(rank), drawn)
    for draw, times in enumerate(drawn):
        taken = np.repeat(rank, times)
        assert found["top1"][draw] == pytest.approx(100 * np.mean(taken == 0), abs=1e-9)
        assert found["top5"][draw] == pytest.approx(100 * np.mean(taken < 5), abs=1e-9)


def test_a_difference_is_paired_and_of_the_mean_over_seeds() -> None:
    """Both sides move together by what was drawn: 3 more on average, whatever was drawn."""
    moved = np.random.default_rng(0).normal(0, 10, 501)
    noise = np.random.default_rng(1).normal(0, 1, 501)
    own = [50 + moved + 2, 50 + moved + 4 + noise]
    found = compare(own, [50 + moved], n_images=100)
    assert found is not None
    assert found.mean == pytest.approx(3 + noise[0] / 2)
    # Student's 0.975 with 99 degrees of freedom is 1.984, times sqrt(100 / 99) 1.994: 2.307% of a
    # normal distribution are beyond, of 500 draws the 11.56th from below and from above.
    ranked = np.sort(noise[1:]) / 2
    low, high = np.interp([11.56, 501 - 11.56], np.arange(1, 501), ranked)
    assert found.ci95 == pytest.approx((3 + low, 3 + high), abs=0.002)
    assert found.p_value == 1e-4  # of 500 draws no smaller one is claimed


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(-4, 4),
    st.integers(2, 60),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([50, 400]),
)
def test_interval_and_p_never_disagree(
    seed: int, mean: float, n_images: int, step: float, draws: int
) -> None:
    """Skewed draws, draws that only take few values, few of them, few images."""
    values = mean + 2 - np.random.default_rng(seed).exponential(2, draws + 1)
    if step:
        values = np.round(values / step) * step
    values[0] = mean if abs(mean) > step else step  # what was observed
    found = compare([values], [np.zeros(draws + 1)], n_images)
    assert found is not None
    without_0 = not found.ci95[0] <= 0 <= found.ci95[1]
    if found.p_value is not None:
        assert (found.p_value < 0.05) == without_0
    else:  # the whole interval lies on the other side
        assert without_0
        assert (found.ci95[0] > 0) == (found.mean < 0)


def test_p_of_a_mean_is_students() -> None:
    """Draws as exactly normal as so many can be: p is that of a t-test of the images."""
    n, draws, spread = 20, 1000, 0.7
    normal = stats.norm.ppf(np.arange(1, draws + 1) / (draws + 1)) * spread
    for mean in (0.3, 1.2, 1.6, 6.0):  # the last is beyond all draws
        found = compare([np.concatenate([[mean], mean + normal])], [np.zeros(draws + 1)], n)
        assert found is not None
        t = mean / (spread * np.sqrt(n / (n - 1)))
        assert found.p_value == pytest.approx(max(1e-4, 2 * stats.t.sf(t, n - 1)), rel=0.1)


def test_what_never_varies_has_no_p() -> None:
    same = np.full(101, 40.0)
    equal, apart = compare([same], [same], 10), compare([same + 1], [same], 10)
    assert equal is not None
    assert (equal.mean, equal.ci95, equal.p_value) == (0, (0, 0), 1)
    assert apart is not None
    assert (apart.mean, apart.ci95, apart.p_value) == (1, (1, 1), None)
    assert compare([same], [same], 1) is None
    assert compare([np.full(101, np.nan)], [same], 10) is None


@pytest.fixture
def pair(make_record: Make) -> tuple[dict[str, Evidence], list[Record]]:
    """Evidence by record key, and two records of what it says."""
    kept, records = {}, []
    for seed, name in enumerate(("resnet50d_mixup", "scratch:resnet50d")):
        evidence = segmented(seed)
        value = float(resample(evidence, weights(IMAGES, 0))["mIoU"][0])
        record = make_record(name, "segmentation", metrics={"mIoU": value})
        kept[record.key] = evidence
        records.append(record)
    return kept, records


def differs(kept: dict[str, Evidence], records: list[Record]) -> tuple[object, str]:
    bootstrap = ImageBootstrap(lambda record: kept.get(record.key), images=2 * IMAGES)
    own, control = records
    found = bootstrap.difference("mIoU", {0: own}, {0: control})
    return found, " ".join(f"{name}: {why}" for name, why in bootstrap.problems.items())


def test_records_are_compared_by_their_evidence(
    pair: tuple[dict[str, Evidence], list[Record]],
) -> None:
    kept, records = pair
    drawn = weights(IMAGES, 1000)
    own, control = (resample(kept[record.key], drawn)["mIoU"] for record in records)
    expected = compare([own], [control], IMAGES)
    found, problems = differs(kept, records)
    assert found == expected
    assert found is not None
    assert found.n_images == IMAGES  # type: ignore[attr-defined]
    assert problems == ""


def test_evidence_that_does_not_fit_is_said_and_not_used(
    pair: tuple[dict[str, Evidence], list[Record]],
) -> None:
    kept, records = pair
    first = records[0].key
    good = kept[first]
    spoilt = {
        "the two were tested on other images": replace(
            good, images=tuple(f"x{name}" for name in NAMES)
        ),
        "cannot be used": replace(good, arrays={}),
        "cannot be used: ": replace(good, arrays={**good.arrays, "labeled": np.ones((2, 2))}),
        "the record says": replace(
            good, arrays={**good.arrays, "intersection": good.arrays["intersection"] // 2}
        ),
    }
    for said, evidence in spoilt.items():
        found, problems = differs({**kept, first: evidence}, records)
        assert found is None
        assert said in problems
        who = " and scratch:resnet50d" if "the two" in said else ""
        assert f"resnet50d_mixup{who}, segmentation" in problems
    assert differs({}, records) == (None, "")  # nothing kept is nothing wrong


def test_seeds_that_were_tested_on_different_images_are_not_called_a_wrong_pair(
    pair: tuple[dict[str, Evidence], list[Record]],
) -> None:
    """Each pair on the same images, and those of the second seed are others."""
    kept, records = pair
    others = [record.model_copy(update={"seed": 1, "key": f"{record.key}-1"}) for record in records]
    names = tuple(f"x{name}" for name in NAMES)
    for record, other in zip(records, others, strict=True):
        kept[other.key] = replace(kept[record.key], images=names)
    bootstrap = ImageBootstrap(lambda record: kept[record.key], images=2 * IMAGES)
    own, control = ({0: records[side], 1: others[side]} for side in (0, 1))
    assert bootstrap.difference("mIoU", own, control) is None
    assert list(bootstrap.problems.values()) == ["the seeds were tested on different images"]
    assert bootstrap.difference("mIoU", {1: own[1]}, {1: control[1]}) is not None


def test_many_images_share_the_time() -> None:
    few, many = (ImageBootstrap(lambda record: None, images=count) for count in (2_000, 10**9))
    assert (few.draws, many.draws) == (1000, FEWEST_DRAWS)


def test_a_table_of_large_test_sets_takes_fewer_draws_and_says_how_many(
    pair: tuple[dict[str, Evidence], list[Record]], make_record: Make
) -> None:
    """Twelve rows that were tested on VOC2007's 4,952 images have as many draws as fit in seconds;
    segmentations, which cost little, take none away."""
    kept, records = pair
    rows = [RowName(backbone=r.backbone, control=r.control) for r in records]

    def draws(task: str, n: int) -> int:
        metrics = {"mAP": Metric(value=30.0, n=n)}
        names = [f"resnet50d_{number}" for number in range(12)]
        more = [
            make_record(name, task, evidence_sha256="0" * 64).model_copy(
                update={"metrics": metrics}
            )
            for name in names
        ]
        seen = [r.model_copy(update={"evidence_sha256": "1" * 64}) for r in records]
        table = make_table(
            [*seen, *more],
            benchmark="mini",
            rows=[*rows, *(RowName(backbone=name, control=None) for name in names)],
            seeds=(0,),
            tasks=("detection", "segmentation"),
            bootstrap=make_bootstrap([*seen, *more], lambda r: kept.get(r.key)),
        )
        return table.image_draws

    assert draws("detection", 200) == 1000
    assert FEWEST_DRAWS < draws("detection", 4952) < 300
    assert draws("segmentation", 4952) == 1000


def test_macro_f1_of_drawn_images_is_scikit_learns() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    label, prediction = rng.integers(4, size=(2, 30)).astype(np.int32)
    prediction[label == 2] = 1  # one class is never right
    evidence = Evidence(
        task="finetune",
        classes=("a", "b", "c", "d", "e"),  # of the last there is no image
        images=tuple(map(str, range(30))),
        arrays={
            "label": label,
            "prediction": prediction,
            "label_rank": (label != prediction).astype(np.int32),
        },
    )
    drawn = weights(30, 5)
    found = resample(evidence, drawn)
    for row, top1, f1 in zip(drawn, found["tuned_top1"], found["macro_f1"], strict=True):
        again = np.repeat(np.arange(30), row)
        assert top1 == pytest.approx(100 * np.mean(label[again] == prediction[again]))
        expected = f1_score(label[again], prediction[again], average="macro", zero_division=0)
        assert f1 == pytest.approx(100 * expected)
