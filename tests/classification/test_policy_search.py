"""The search of a policy, judged by networks of which the best operations are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from classification.operation_space import GEOMETRIC
from classification.policy import SubPolicy, expected_uses
from classification.policy_search import searched_policy
from classification.policy_search.density_matching import matching_loss, merge
from classification.policy_search.sampler import FIRST, Trial, suggest
from classification.policy_search.search import Found, Judge, search
from classification.policy_search.trial_log import TrialLog

WHITE = np.full((12, 16, 16, 3), 255, np.uint8)
LABELS = np.arange(12) % 2
CARD = {"weights": "random", "seed": 0}


def knows(recognized: Callable[[np.ndarray], np.ndarray]) -> Judge:
    """Of a network that is sure of the right class where `recognized` (n,) is true of views, and
    takes the other class for likely elsewhere."""

    def predict(views: np.ndarray) -> np.ndarray:
        right = np.where(recognized(views), 0.99, 0.1)
        return np.where(np.eye(2, dtype=bool)[LABELS], right[:, None], 1 - right[:, None])

    return lambda tried: matching_loss(tried, WHITE, LABELS, predict, seed=0)


def run(
    tmp_path: Path, judges: list[Judge], *, trials: int = 50, told: list[str] | None = None
) -> Found:
    return search(
        lambda fold: judges[fold],
        TrialLog(tmp_path / "trials.jsonl", {"of": "the test"}),
        folds=len(judges),
        trials=trials,
        seed=0,
        label="test",
        tell=[].append if told is None else told.append,
    )


def test_what_hides_the_image_is_not_chosen(tmp_path: Path) -> None:
    # In images of one colour every warp and every blank square shows, and nothing else does.
    upright = knows(lambda views: (views == views[:, :1, :1]).all((1, 2, 3)))
    found = run(tmp_path, [upright, upright])
    uses = expected_uses(found.policy)
    assert sum(uses.get(name, 0) for name in (*GEOMETRIC, "cutout")) < 0.1  # evenly drawn: 0.4
    assert sum(uses.values()) > 0.5  # it is not that nothing is done
    assert found.plain == pytest.approx(-np.log(0.99))
    assert found.loss < 0.1 < -np.log(0.1)


def test_what_the_network_knows_is_chosen(tmp_path: Path) -> None:
    # Black is what white becomes when it is inverted, or solarized.
    negative = knows(lambda views: views.mean((1, 2, 3)) < 5)
    found = run(tmp_path, [negative])
    uses = expected_uses(found.policy)
    assert next(iter(uses)) in ("invert", "solarize")
    assert uses.get("invert", 0) + uses.get("solarize", 0) > 0.4  # evenly drawn: 0.13
    assert found.plain == pytest.approx(-np.log(0.1))
    assert found.loss < 0.75 * found.plain


def test_the_loss_is_the_cross_entropy_of_what_the_network_sees() -> None:
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (5, 6, 6, 4), np.uint8)
    labels, said = np.array([0, 2, 1, 1, 0]), rng.dirichlet((1, 1, 1), 5)
    seen = []

    def predict(shown: np.ndarray) -> np.ndarray:
        seen.append(shown)
        return said

    before = views.copy()
    losses = [
        matching_loss(steps, views, labels, predict, seed=1)
        for steps in ((), (("invert", 1.0, 0.0),), (("rotate", 0.0, 1.0),))
    ]
    assert losses == pytest.approx([log_loss(labels, said)] * 3)
    assert np.array_equal(seen[0], before)
    assert np.array_equal(seen[1][..., :3], 255 - before[..., :3])
    assert np.array_equal(seen[1][..., 3], before[..., 3])  # alpha
    assert np.array_equal(seen[2], before)
    assert np.array_equal(views, before)


def test_the_best_of_each_fold_are_merged() -> None:
    def steps(*names: str, level: float = 0.5) -> SubPolicy:
        return tuple((name, 0.5, level) for name in names)

    first = [
        (steps("rotate", "color"), 0.3),
        (steps("color", "rotate", level=0.1), 0.2),  # the same two, and better
        (steps("invert", "invert"), 0.9),
        (steps("equalize", "color"), 0.4),
    ]
    second = [(steps("equalize", "color"), 0.1), (steps("cutout", "color"), 0.2)]
    expected = (
        steps("color", "rotate", level=0.1),
        steps("equalize", "color"),
        steps("cutout", "color"),
    )
    assert merge([first, second], best=2) == expected


def test_suggestions_get_better_than_the_first() -> None:
    def loss(steps: SubPolicy) -> float:
        """0 for rotations by level 0.9 that are always done, at most 2 for others."""
        off = (abs(p - 1) + abs(x - 0.9) if name == "rotate" else 2 for name, p, x in steps)
        return sum(off) / len(steps)

    ends, starts = [], []
    for seed in range(2):
        trials: list[Trial] = []
        for number in range(60):
            steps = suggest(trials, np.random.default_rng([seed, number]))
            trials.append((steps, loss(steps)))
        starts.append(np.mean([x for _, x in trials[:FIRST]]))
        ends.append(np.mean([x for _, x in trials[-15:]]))
    assert np.mean(starts) > 1.7
    assert np.mean(ends) < 1


def test_a_search_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    calls = []

    def judge(steps: SubPolicy) -> float:
        calls.append(steps)
        return sum(p * x for _, p, x in steps) + 0.1

    def dying(steps: SubPolicy) -> float:
        if len(calls) == 33:
            raise KeyboardInterrupt
        return judge(steps)

    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = run(tmp_path / "whole", [judge, judge], trials=20)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", [dying, dying], trials=20)
    log = tmp_path / "killed" / "trials.jsonl"
    log.write_text(log.read_text() + '{"fold": 1, "sub_po')  # half a line
    resumed = run(tmp_path / "killed", [judge, judge], trials=20)
    assert (resumed.policy, resumed.loss) == (whole.policy, whole.loss)
    assert len(calls) == 2 * 21  # none twice
    # A third time nothing is asked, and another search's trials are not taken for one's own.
    assert run(tmp_path / "killed", [judge, judge], trials=20) == resumed
    assert len(calls) == 2 * 21
    assert TrialLog(log, {"of": "something else"}).trials == []


def test_how_long_it_takes_is_said_after_three_trials(tmp_path: Path) -> None:
    told: list[str] = []
    said_at: list[int] = []

    def judge(steps: SubPolicy) -> float:
        said_at.append(len(told))
        return 0.5

    run(tmp_path, [judge], trials=30, told=told)
    assert said_at[:4] == [0, 0, 0, 1]
    assert "31 trials" in told[0]
    assert "about" in told[0]
    assert 5 <= len(told) <= 10


@pytest.mark.parametrize(("classes", "each"), [(1200, 2), (500, 4), (10, 200)])
def test_many_classes_have_two_images_each_at_least(classes: int, each: int) -> None:
    samples = [(Path(f"{label}/{i}.png"), label) for label in range(classes) for i in range(300)]
    chosen, _ = searched_policy._chosen(samples, None, seed=0)
    assert len(chosen) == classes * each


@pytest.mark.slow
def test_the_program_searches_on_the_images_to_fit_and_trains_with_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget_mmengine: Callable[[], None]
) -> None:
    import torch
    from PIL import Image

    from backbones.artifact import save_artifact
    from backbones.card import read_card
    from backbones.create import create_backbone
    from benchmarks.prepare import PreparedBenchmark
    from benchmarks.schema import Benchmark, FineTuneBudget
    from classification.finetune import finetune
    from classification.policy_file import policy_digest, read_policy
    from classification.policy_search import searched_policy
    from classification.recipes import FINE_TUNING
    from classification.tricks import FastAutoAugment, PseudoLabels

    rng = np.random.default_rng(0)
    for name, level in {"dark": 0, "light": 190}.items():
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = (rng.integers(0, 60, (24, 24, 3)) + level).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    torch.manual_seed(0)
    save_artifact(tmp_path / "start", create_backbone("resnet18d", width=0.0625), CARD)
    recipe = FINE_TUNING.recipes["plain"] | FastAutoAugment("search", trials=20)
    monkeypatch.setitem(FINE_TUNING.recipes, "searched", recipe)
    seen: list[Path] = []
    read = searched_policy.whole_image
    monkeypatch.setattr(
        searched_policy,
        "whole_image",
        lambda path, shown: (seen.append(path), read(path, shown))[1],
    )
    settings: Any = {"image_size": 24, "resize_size": 24, "epoch_scale": 0.1, "workers": 0}
    budget = FineTuneBudget(root=tmp_path / "images", **settings)
    prepared = PreparedBenchmark(
        benchmark=Benchmark(name="own", finetune=budget), digests={"finetune": "d"}
    )
    work = tmp_path / "work"
    work.mkdir()
    forget_mmengine()
    found = finetune(
        tmp_path / "start",
        prepared,
        recipe="searched",
        seed=0,
        work_dir=work,
        result=work / "result.json",
    )
    assert len(seen) == 16 == len(set(seen))  # a fifth of the 20 validate
    policy = read_policy(work / "policy.json")
    knobs = read_card(work / "classifier").recipe["tricks"]["fast_auto_augment"]
    assert knobs == {"policy": "file", "sha256": policy_digest(policy)}
    assert found.protocol["recipe"]["tricks"]["fast_auto_augment"]["policy"] == "search"
    assert any("policy.json" in note and "density matching" in note for note in found.notes)
    assert 0 < found.cost["policy_search_seconds"] < found.cost["seconds"]

    both = recipe | PseudoLabels(quantile=0.0)
    monkeypatch.setitem(FINE_TUNING.recipes, "rounds", both)
    forget_mmengine()
    found = finetune(
        tmp_path / "start",
        PreparedBenchmark(
            benchmark=Benchmark(
                name="own",
                finetune=FineTuneBudget(root=tmp_path / "images", labelled_per_class=8, **settings),
            ),
            digests={"finetune": "d"},
        ),
        recipe="rounds",
        seed=0,
        work_dir=tmp_path / "rounds",
        result=tmp_path / "rounds.json",
    )
    log = (tmp_path / "rounds" / "round-0" / "policy_trials.jsonl").read_text().splitlines()
    seconds = [json.loads(line).get("seconds", 0.0) for line in log]
    assert found.cost["policy_search_seconds"] == pytest.approx(sum(seconds))
