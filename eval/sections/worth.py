"""What each trick is worth: every two rows that differ by one trick, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eval.intervals import Interval
from eval.made import Made, known_rows
from eval.records import Record
from eval.sections.material import Material
from eval.sections.second_test import ONLY_TESTS
from eval.sections.second_test import TITLE as OF_THE_TEST
from eval.sections.section import Block, Cell, Grid, Paragraph, Section, number
from eval.sections.worth_plot import forest
from eval.sections.worth_shapley import shapley_grids
from eval.significance import explain_no_evidence
from eval.summary import TASK_OF_METRIC
from eval.text import in_one_line
from eval.trick_pairs import Pair, find_pairs
from eval.trick_worth import METRICS, SHORT_BUNDLE, BootstrapOver, Worth, worth_of_tricks

if TYPE_CHECKING:
    from eval.image_bootstrap import ByImage

KEY, TITLE = "worth", "What each trick is worth"
_MOST_CONTEXTS = 30
_MOST_NAMED = 8
_NOTES = (
    "A pair is two rows of one architecture whose recipes differ by exactly one trick, all knobs "
    "of the others equal; what the other tricks are is its context. A trick with other knobs is "
    "another trick. Differences are taken seed by seed.",
    "Interval: Student's 95% of the mean over the contexts, each the mean of its seeds; or over "
    "the seeds, where there are more of them than contexts: it then holds for these contexts.",
    "No evidence: p is 0.05 or more after Holm's correction over the rows of a column. One "
    "difference alone has no interval.",
)
_BUNDLES = (
    "Added together: the two rows differ by several tricks and no row lies between them, so that "
    "nothing tells which of them makes the difference. Left out where each of them stands alone."
)
_BY_IMAGE = (
    "By image: of one seed; the interval is what these weights would show on other images of the "
    "kind (paired bootstrap), and says nothing of another training."
)
_MOST_IN_BUNDLE = 6
_MOST_IN_ANSWER = 12


def section(material: Material) -> Section | None:
    """None where no row has a recipe with tricks."""
    rows, unknown = known_rows(material.records)
    left_out = [
        f"{in_one_line(name)}: its recipe is not known here, so that it can be no part of a pair"
        for name in unknown
    ]
    if not any(row.tricks for row in rows.values()):
        return None
    made = rows
    rows, only_test = _as_trained(rows)
    left_out += [
        f"{trick}: acts in the test alone and changes no plain score; what it gains stands in the "
        f"section {OF_THE_TEST}"
        for trick in only_test
    ]
    cells = _cells(material.records)
    scores = {
        metric: {name: {s: value for s, (value, _) in of.items()} for name, of in by_name.items()}
        for metric, by_name in cells.items()
    }
    pairs = {metric: find_pairs(rows.values(), values) for metric, values in scores.items()}
    found = worth_of_tricks(pairs, scores, _by_image(material, cells))
    if not found:
        in_training = " in training" if only_test else ""
        left_out.append(
            f"no two rows differ by tricks{in_training} alone and share a seed: `trickle run "
            "--ablate SPEC` makes such rows of any recipe, for example --ablation leave-one-out"
        )
        lead = "These rows do not say what a single trick is worth."
        return Section(key=KEY, title=TITLE, lead=lead, left_out=tuple(left_out))
    alone = sorted({_said(row) for row in found if row.difference.ci95 is None})
    if alone:
        left_out.append(f"no interval for {_names(alone)} where there is one difference alone")
    blocks: list[Block] = [_grid(found), forest(found)]
    # Of all tricks: the orders that were drawn are of all of them.
    blocks += shapley_grids(list(made.values()), scores, left_out)
    return Section(
        key=KEY,
        title=TITLE,
        lead=_lead(found),
        blocks=tuple(blocks),
        left_out=tuple(left_out),
        answer=_answer(found),
    )


def _as_trained(rows: Mapping[str, Made]) -> tuple[dict[str, Made], list[str]]:
    """The rows without the tricks that act in the test alone, and the names of these.

    Rows that had some come last: of rows with equal tricks the first one stands in the pairs.
    """
    trained = {
        name: replace(row, tricks=frozenset(t for t in row.tricks if t[0] not in ONLY_TESTS))
        for name, row in rows.items()
    }
    names = sorted(trained, key=lambda name: trained[name].tricks != rows[name].tricks)
    found = {trick for row in rows.values() for trick in row.names & ONLY_TESTS}
    return {name: trained[name] for name in names}, sorted(found)


_Cells = dict[str, dict[str, dict[int, tuple[float, Record]]]]
"""metric -> backbone -> seed -> value, and the record that it is from"""


def _cells(records: Sequence[Record]) -> _Cells:
    """What has not been measured is left out."""
    cells: _Cells = {metric: {} for metric in METRICS}
    for record in records:
        for metric in METRICS:
            if record.task != TASK_OF_METRIC[metric] or record.status != "ok":
                continue
            value = record.metrics[metric].value if metric in record.metrics else None
            if value is not None:
                cells[metric].setdefault(record.backbone, {})[record.seed] = value, record
    return cells


def _by_image(material: Material, cells: _Cells) -> BootstrapOver | None:
    if (bootstrap := material.bootstrap) is None:
        return None

    def over(metric: str, differences: Sequence[tuple[Pair, int]]) -> ByImage | None:
        of = cells[metric]
        return bootstrap.difference(
            metric,
            {place: of[pair.having][seed][1] for place, (pair, seed) in enumerate(differences)},
            {place: of[pair.lacking][seed][1] for place, (pair, seed) in enumerate(differences)},
        )

    return over


def _lead(found: Sequence[Worth]) -> str:
    names = {worth.trick for worth in found}
    bundles = len({worth.trick for worth in found if worth.bundle})
    added = [
        f"{count} {what}"
        for count, what in (
            (len(names) - bundles, "trick" if len(names) - bundles == 1 else "tricks"),
            (bundles, "bundle of tricks" if bundles == 1 else "bundles of tricks"),
        )
        if count
    ]
    were = "was" if len(names) == 1 else "were"
    return f"{' and '.join(added)} {were} added to otherwise equal recipes."


def _answer(found: Sequence[Worth]) -> tuple[Paragraph | Grid, ...]:
    """A sentence and a small table: the tricks that make the largest differences, at most 12."""
    by_trick: dict[str, dict[str, Worth]] = {}
    for worth in sorted(found, key=lambda worth: -abs(worth.difference.mean)):
        by_trick.setdefault(worth.trick, {})[worth.metric] = worth
    shown = list(by_trick.values())[:_MOST_IN_ANSWER]
    metrics = [metric for metric in METRICS if any(metric in row for row in shown)]
    said = [_counted(metric, [w for w in found if w.metric == metric]) for metric in metrics]
    rows = tuple(
        (_short_name(next(iter(row.values()))), *(_arrow(row.get(metric)) for metric in metrics))
        for row in shown
    )
    images = all(worth.units == "images" for worth in found)
    caption = "What each adds in points, with its 95% interval"
    caption += " over the test images of one seed" if images else ""
    few = len(by_trick) - len(shown)
    caption += f"; {few} more with smaller differences stand further below" if few else ""
    header = ("trick", *(METRICS[metric] for metric in metrics))
    return (
        Paragraph(text=f"Added to otherwise equal recipes, {'; '.join(said)}."),
        Grid(caption=f"{caption}.", header=header, rows=rows),
    )


def _counted(metric: str, found: Sequence[Worth]) -> str:
    """`2 of 5 tricks raise mAP and 1 lowers it`, or that none changes it."""
    raised, lowered = (sum(w.verdict == verdict for w in found) for verdict in ("better", "worse"))
    bundles, score = sum(bool(w.bundle) for w in found), METRICS[metric]
    if len(found) == 1:
        what = "the one bundle of tricks" if bundles else "the one trick"
        if raised or lowered:
            return f"{what} {'raises' if raised else 'lowers'} {score}"
        return f"{what} does not change {score} beyond chance"
    kinds = {0: "tricks", len(found): "bundles of tricks"}
    what = f"{len(found)} {kinds.get(bundles, 'tricks and bundles of tricks')}"
    if not raised and not lowered:
        return f"none of {what} changes {score} beyond chance"
    counts = ((raised, "raises", "raise"), (lowered, "lowers", "lower"))
    (first, does), *other = [(n, one if n == 1 else many) for n, one, many in counts if n]
    return f"{first} of {what} {does} {score}" + "".join(f" and {n} {do} it" for n, do in other)


def _short_name(worth: Worth) -> Cell:
    more = len(worth.bundle) - SHORT_BUNDLE
    if more <= 0:
        return Cell(text=" + ".join(map(in_one_line, worth.bundle)) or in_one_line(worth.trick))
    names = [in_one_line(name) for name in worth.bundle]
    text = worth.recipes or f"{' + '.join(names[:SHORT_BUNDLE])} + {more} more"
    return Cell(text=text, detail=f"added together: {', '.join(names)}")


def _arrow(worth: Worth | None) -> Cell:
    if worth is None:
        return Cell(text="–")
    mean = number(worth.difference.mean, signed=True).text
    if worth.verdict in ("better", "worse") and worth.difference.ci95 is not None:
        arrow = "↑" if worth.verdict == "better" else "↓"
        text = f"{arrow} {mean} {_bounds(worth.difference)}"
    else:
        text = f"{mean} {'not tested' if worth.p_value is None else 'no evidence'}"
    return Cell(text=text, sort=worth.difference.mean)


def _said(worth: Worth) -> str:
    """At most six of a bundle's tricks; where many are what two recipes differ by, these."""
    if not worth.bundle:
        return in_one_line(worth.trick)
    if worth.recipes:
        return f"{worth.recipes} ({len(worth.bundle)} tricks added together)"
    more = len(worth.bundle) - _MOST_IN_BUNDLE
    shown = " + ".join(map(in_one_line, worth.bundle[:_MOST_IN_BUNDLE]))
    return f"{shown}{f' + {more} more' if more > 0 else ''} (added together)"


def _names(tricks: Sequence[str]) -> str:
    """The first few of them."""
    more = len(tricks) - _MOST_NAMED
    shown = ", ".join(tricks[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def _grid(found: Sequence[Worth]) -> Grid:
    by_trick: dict[str, dict[str, Worth]] = {}
    for worth in sorted(found, key=lambda worth: bool(worth.bundle)):
        by_trick.setdefault(worth.trick, {})[worth.metric] = worth
    metrics = [metric for metric in METRICS if any(metric in row for row in by_trick.values())]
    rows = []
    for of_trick in by_trick.values():
        any_of = next(iter(of_trick.values()))
        pairs = list(dict.fromkeys(pair for w in of_trick.values() for pair in w.differences))
        detail = _first_lines([_pair_text(pair) for pair in pairs])
        if any_of.bundle:
            detail = f"{', '.join(map(in_one_line, any_of.bundle))}\n{detail}"
        contexts = Cell(text=str(len(pairs)), sort=len(pairs), detail=detail)
        cells = [_cell(of_trick.get(metric)) for metric in metrics]
        rows.append((Cell(text=_said(any_of)), *cells, contexts))
    notes = list(_NOTES)
    if any(worth.bundle for worth in found):
        notes.append(_BUNDLES)
    if any(worth.units == "images" for worth in found):
        notes.append(_BY_IMAGE)
    return Grid(
        caption="Mean difference that a trick makes, with its 95% interval",
        header=("trick", *(f"Δ {METRICS[metric]}" for metric in metrics), "contexts"),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _cell(worth: Worth | None) -> Cell:
    if worth is None:
        return Cell(text="–")
    lines = [part for part in (_over(worth), _probability(worth)) if part]
    if why := explain_no_evidence(worth.difference.ci95, worth.verdict, worth.p_value, worth.rows):
        lines.append(why)
    differences = [
        f"{_pair_text(pair)}: {', '.join(f'seed {s}: {_signed(v)}' for s, v in of.items())}"
        for pair, of in worth.differences.items()
    ]
    detail = "\n".join([*lines, _first_lines(differences)])
    return Cell(text=_text(worth), sort=worth.difference.mean, detail=detail)


def _text(worth: Worth) -> str:
    mean = number(worth.difference.mean, signed=True).text
    if worth.difference.ci95 is None:
        return f"{mean}, one difference: not tested"
    verdict = ""
    if worth.verdict == "no evidence":
        verdict = " not tested" if worth.p_value is None else " no evidence"
    by_image = " by image" if worth.units == "images" else ""
    return f"{mean} {_bounds(worth.difference)}{verdict}{by_image}"


def _bounds(value: Interval) -> str:
    assert value.ci95 is not None, "asked for where there is one"
    return f"[{_signed(value.ci95[0])}, {_signed(value.ci95[1])}]"


def _signed(value: float) -> str:
    return number(value, signed=True).text


def _over(worth: Worth) -> str:
    if worth.difference.ci95 is None:
        return ""
    return f"over {worth.difference.n} {worth.units}" + (
        ", of one seed" * (worth.units == "images")
    )


def _probability(worth: Worth) -> str:
    return "" if worth.p_value is None else f"p = {worth.p_value:.3g} after correction"


def _first_lines(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _MOST_CONTEXTS} more"] * (len(lines) > _MOST_CONTEXTS)
    return "\n".join([*lines[:_MOST_CONTEXTS], *more])


def _pair_text(pair: Pair) -> str:
    return f"{in_one_line(pair.having)} minus {in_one_line(pair.lacking)}"
