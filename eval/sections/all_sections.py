"""All sections of the report, in their order; one that fails does not cost the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from eval.process import one_line
from eval.sections import (
    calibration,
    class_change,
    cost,
    detection_errors,
    folds,
    learning_rate,
    left_out,
    mistakes,
    own_candidates,
    own_files,
    own_labels,
    own_slices,
    pseudo_labels,
    published,
    robustness,
    samples,
    second_test,
    segmentation_errors,
    upstream_downstream,
    worth,
)
from eval.sections.material import Material
from eval.sections.section import Section
from eval.text import in_one_line

MakeSection = Callable[[Material], Section | None]

SECTIONS: tuple[MakeSection, ...] = (
    worth.section,
    upstream_downstream.section,
    published.section,
    cost.section,
    second_test.section,
    detection_errors.section,
    segmentation_errors.section,
    samples.section,
    class_change.section,
    mistakes.section,
    calibration.section,
    learning_rate.section,
    folds.section,
    pseudo_labels.section,
    own_candidates.section,
    class_change.own_section,
    mistakes.own_section,
    calibration.own_section,
    own_labels.section,
    own_slices.section,
    own_files.section,
    learning_rate.own_section,
    robustness.section,
    left_out.section,
)
"""What the report answers, in the order of the page."""


def make_sections(material: Material) -> list[Section]:
    """All that there is something to say about.

    A section that fails is a defect of ours. It costs the user that section and not the report:
    its place says so, and a RuntimeWarning, of which the tests make an error.
    """
    sections = []
    for make in SECTIONS:
        name = make.__module__.rpartition(".")[2]
        try:
            section = make(material)
        except Exception as error:
            warnings.warn(f"section {name} could not be made: {error!r}", RuntimeWarning, 2)
            section = could_not_be_made(name, error)
        if section is not None:
            sections.append(section)
    return sections


def could_not_be_made(name: str, error: Exception) -> Section:
    """What stands in the place of a section that failed."""
    said = in_one_line(one_line(f"{type(error).__name__}: {error}"))
    return Section(
        key=name.replace("_", "-"),
        title=name.replace("_", " ").capitalize(),
        lead="This section could not be made: a defect of Trickle, which the numbers above and "
        "the other sections do not depend on.",
        left_out=(said,),
    )
