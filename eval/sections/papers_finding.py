"""The paper's finding that softened labels help detection and not segmentation, tested here."""

from __future__ import annotations

from collections.abc import Sequence

from eval.sections.section import Block, Cell, Grid, Paragraph, number
from eval.softened_labels import TRICKS, Test, judge


def finding_blocks(tests: Sequence[Test], benchmark: str) -> list[Block]:
    """The paper's finding on smoothing, distillation and mixup: an answer, and what it rests on."""
    if all(test.difference is None for test in tests):
        return []
    answers = []
    for trick, verdict, why in judge(tests):
        sentence = f"for {TRICKS[trick]} it {verdict}" + (
            " here" if verdict != "cannot be said" else ""
        )
        answers.append(f"{sentence} ({why})")
    other = (
        ""
        if benchmark == "paper"
        else f" Benchmark {benchmark} is another one than the paper's (ImageNet, Pascal VOC 2007, "
        "ADE20K): what is found here says nothing about the paper's own numbers."
    )
    text = (
        "The paper finds that label smoothing, distillation and mixup help detection and not "
        f"segmentation (He et al., arXiv:1812.01187, section 5): {'; '.join(answers)}.{other}"
    )
    return [Paragraph(text=text), _grid(tests)]


def _said(test: Test) -> str:
    """Nothing was found where nothing was tested."""
    tested = test.effect != "no evidence" or test.p_value is not None
    return test.effect if tested else "not tested"


def _grid(tests: Sequence[Test]) -> Grid:
    rows = []
    for test in tests:
        difference = test.difference
        bounds = None if difference is None else difference.ci95
        pairs = ", ".join(f"{pair.with_it} − {pair.without}" for pair in test.pairs)
        rows.append(
            (
                Cell(text=TRICKS[test.trick]),
                Cell(text=test.metric),
                number(None if difference is None else difference.mean, 2, signed=True),
                Cell(text="–" if bounds is None else f"[{bounds[0]:+z.2f}, {bounds[1]:+z.2f}]"),
                Cell(text="–" if difference is None else str(difference.n)),
                number(test.p_value, 3),
                Cell(text=_said(test)),
                Cell(text=f"{len(test.pairs)}", sort=len(test.pairs), detail=pairs),
            )
        )
    notes = [
        "Difference with the trick less without it, in points: of each seed the mean over pairs of "
        "rows that differ by the trick (by mixup: and the epochs that the paper gives it), then "
        "Student's interval over seeds. "
        "p: over seeds, or over the test images where there is one seed and they were kept; "
        "corrected over these tests (Holm).",
    ]
    if any(pair.longer for test in tests for pair in test.pairs):
        notes.append(
            "Rows with mixup are also trained for more epochs than those without, as in the paper: "
            "the two cannot be told apart."
        )
    return Grid(
        caption="The paper's finding, tested here",
        header=("trick", "score", "difference", "95% interval", "seeds", "p", "effect", "pairs"),
        rows=tuple(rows),
        notes=tuple(notes),
    )
