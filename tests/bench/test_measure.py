"""What the benches share: the order of the calls, the ratio, and the JSON of the contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.measure import alternate, bench_parser, rate_ratio, report


def test_arms_alternate_and_the_order_turns_round() -> None:
    calls: list[str] = []
    arms = {name: (lambda name=name: calls.append(name)) for name in ("a", "b", "c")}
    seconds = alternate(arms, rounds=3, warmup=1)
    assert "".join(calls) == "abc" + "cba" + "abc" + "cba"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(time >= 0 for times in seconds.values() for time in times)


def test_the_ratio_is_the_median_over_pairs() -> None:
    # Pairs: 2, 3, 1.5 and, in a disturbed round, 100 times as fast.
    seconds = {"ours": [1.0, 2.0, 4.0, 1.0, 1.0], "peer": [2.0, 6.0, 6.0, 100.0, 2.5]}
    assert rate_ratio(seconds, "ours", "peer") == 2.5
    assert rate_ratio(seconds, "peer", "ours") == pytest.approx(1 / 2.5)


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be at least 1, not 0"):
        alternate({"a": lambda: None}, rounds=0)


def test_the_report_has_the_fields_of_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    found = report("distill", ratios={"plain_teacher": 1.5}, raw={"batch": 8}, file=file)
    assert json.loads(file.read_text()) == found
    assert list(found) == ["name", "machine", "versions", "ratios", "raw"]
    assert (found["name"], found["ratios"], found["raw"]) == (
        "distill",
        {"plain_teacher": 1.5},
        {"batch": 8},
    )
    assert found["machine"]["cpu"]
    assert found["versions"]["torch"]
    assert capsys.readouterr().out == "distill: 1.50 times the rate of plain_teacher\n"


def test_every_bench_takes_json_and_rounds() -> None:
    arguments = bench_parser("text").parse_args(["--json", "a.json", "--rounds", "3"])
    assert (arguments.json, arguments.rounds) == (Path("a.json"), 3)


@pytest.mark.slow
def test_the_distillation_bench_runs(tmp_path: Path) -> None:
    from bench.distill import main

    file = tmp_path / "distill.json"
    main(["--width", "0.125", "--size", "32", "--batch", "4", "--rounds", "1", "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["name"] == "distill"
    assert list(found["ratios"]) == ["plain_teacher"]
    assert (
        found["raw"]["folded"] == 157
    )  # 152 layers less the classifier, 2 of the stem, 4 shortcuts
    assert found["raw"]["rms_logit_error"] < 0.05
