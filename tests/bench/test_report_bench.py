"""The bench of the report: its records are real ones to `trickle report`, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from eval.kept_evidence import EvidenceReader
from eval.layout import Layout
from eval.records import read_records
from eval.summary import RowName, make_bootstrap, make_table


def test_its_records_are_whole_and_agree_with_their_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SEEDS", (0,))
    monkeypatch.setattr(
        report, "IMAGES", {"classification": 40, "detection": 20, "segmentation": 8}
    )
    layout = Layout(tmp_path / "out")
    assert report.make_records(layout.root, 8) == {"records": 8, "evidence": 8}
    read = read_records(layout.records)
    assert (len(read.by_key), read.bad) == (8, ())
    records = list(read.by_key.values())
    table = make_table(
        records,
        benchmark="mini",
        rows=[
            RowName(backbone="resnet50d_standard", control="scratch:resnet50d"),
            RowName(backbone="scratch:resnet50d", control=None),
        ],
        seeds=(0,),
        tasks=("detection", "segmentation"),
        bootstrap=make_bootstrap(records, EvidenceReader([layout], pytest.fail)),
    )
    # A score that did not follow from its evidence would be said to differ from it.
    assert table.remarks == ()
    for metric in ("mAP", "mIoU", "aAcc"):
        score = table.rows[0].metrics[metric]
        assert score is not None
        assert score.delta is not None
        assert score.delta_by_image is not None
        assert score.delta_by_image.mean == pytest.approx(score.delta.mean, abs=1e-3)


def test_the_same_records_each_time(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        report.make_records(tmp_path / name, 4)
        layout = Layout(tmp_path / name)
        files = [*layout.records.glob("*.json"), *layout.evidence.glob("*.safetensors")]
        made.append({path.name: path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert len(made[0]) == 8


@pytest.mark.slow
def test_file_has_the_contracts_parts(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    wanted = ["--records", "30", "--rounds", "1", "--folder", str(tmp_path), "--json", str(file)]
    report.main(wanted)
    found = json.loads(file.read_text())
    assert set(found) == {"name", "machine", "versions", "ratios", "raw"}
    raw = found["raw"]
    assert raw["records"] == 30
    assert 1 < raw["processor_seconds"] < 100
    assert 50 < raw["megabytes"] < 1000
    assert sum(raw["parts"].values()) == pytest.approx(raw["processor_seconds"], rel=0.2)
    assert not list(tmp_path.glob("bench-report-*"))
