"""Which network a record is of, which its row's name alone does not say."""

from __future__ import annotations

from eval.records import Record
from eval.specs import tuning_of


def architecture_of(record: Record) -> str | None:
    """As `Spec.architecture`; None for weights of others whose record names no control.

    A control's name, the record's own or that beside it, says just the architecture, and for a
    fine-tuning its recipe.
    """
    control = record.control or record.backbone
    if not control.startswith("scratch:"):
        return None
    return control.removeprefix("scratch:").removesuffix(f"~{tuning_of(control)}")
