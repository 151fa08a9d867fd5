"""Backbones ranked by probes of their features on one's own training images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eval.records import Record

Probed = dict[str, dict[str, float]]
"""By backbone: linear_probe and knn, in percent."""


def probed(records: Iterable[Record]) -> Probed:
    """Of the probes among `records` that came to their end."""
    return {
        record.backbone: {
            name: value
            for name, metric in record.metrics.items()
            if (value := metric.value) is not None
        }
        for record in records
        if record.task == "probes" and record.status == "ok"
    }


def ranked(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Best first: by the linear probe, k-NN deciding between equals, then by name; without those
    that lack either."""
    known = {name: (of["linear_probe"], of["knn"]) for name, of in found.items() if len(of) >= 2}
    return sorted(sorted(known), key=lambda name: known[name], reverse=True)
