"""What the page says beside an interval: where it was cut, and where it holds for one row alone."""

from __future__ import annotations

import json

from scipy import stats

from eval.notes import make_notes
from eval.page.numbers import make_numbers
from eval.sections.material import Material
from eval.tables import to_json
from tests.eval.report_material import material_of, record_of


def behind(material: Material, backbone: str) -> dict[str, str]:
    (found,) = [b for b in make_numbers(material).behind if b.title.startswith(backbone)]
    return {row[0].text: row[1].text for row in found.grids[0].rows}


def test_a_percentage_is_shown_cut_and_kept_whole() -> None:
    """Of two seeds the interval is the mean -+ 12.7 times half their difference."""
    values = {"x_low": (2.0, 4.0), "x_wide": (40.0, 60.0), "x_sure": (50.0, 50.2)}
    material = material_of(
        [record_of(name, seed, v) for name, of in values.items() for seed, v in enumerate(of)]
    )
    shown = {name: behind(material, name)["95% interval"] for name in values}
    assert shown == {
        "x_low": "0.00 to 15.71 (cut at 0)",
        "x_wide": "0.00 to 100.00 (cut at 0 and 100)",
        "x_sure": "48.83 to 51.37",
    }
    kept = json.loads(json.dumps(to_json(material.table)))["rows"][0]["metrics"]["mAP"]["ci95"]
    assert kept[0] < -9


def test_an_interval_that_holds_alone_is_told_from_evidence() -> None:
    """One row whose own p is 0.03 beside three others, of which none is any better."""
    gains = {"x_a": (1.0, 1.4, 1.9), "x_b": (0.1, -0.2, 0.3), "x_c": (0.2, -0.1, 0.0)}
    p = stats.ttest_1samp(gains["x_a"], 0).pvalue
    assert 0.05 / 3 < p < 0.05
    records = [record_of("scratch:x", seed, 10.0) for seed in range(3)]
    for name, of in gains.items():
        records += [record_of(name, seed, 10.0 + gain) for seed, gain in enumerate(of)]
    material = material_of(records)
    said = "no evidence, by seeds: the interval holds for this row alone; over the 3 rows"
    assert behind(material, "x_a")["verdict"].startswith(said)
    assert behind(material, "x_b")["verdict"] == "no evidence, by seeds"
    assert any("holds for its row alone" in note for note in make_notes(material.table, records))
    others = material_of([r for r in records if r.backbone != "x_a"])
    assert not any("holds for its row" in n for n in make_notes(others.table, others.records))
