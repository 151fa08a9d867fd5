"""Does upstream predict downstream? Ranks of backbones by cheap scores against mAP and mIoU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from eval.made import known_rows
from eval.records import TaskName
from eval.sections.by_backbone import named
from eval.sections.common_seeds import BySeed, by_seed, other_seeds, p_of_pairs
from eval.sections.material import Material
from eval.sections.papers_finding import finding_blocks
from eval.sections.rank_pairs import FEWEST, RankPair, is_control, is_evidence, rank_pair
from eval.sections.scatter import MOST_LABELS, height_for, narrow_size
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.sections.upstream_plots import MOST_NUMBERS, Point, draw_named, draw_panels, panels_size
from eval.significance import RankCorrelation, holm
from eval.softened_labels import Test, run_tests

_UPSTREAM: dict[str, tuple[TaskName, str]] = {
    "top1": ("classification", "top-1"),
    "linear_probe": ("probes", "linear probe"),
    "knn": ("probes", "k-NN"),
    "few_shot_1": ("probes", "few-shot 1%"),
    "few_shot_5": ("probes", "few-shot 5%"),
    "few_shot_10": ("probes", "few-shot 10%"),
}
_DOWNSTREAM: dict[str, TaskName] = {"mAP": "detection", "mIoU": "segmentation"}

_Key = tuple[str, str]
"""(upstream, downstream)."""
Pairs = Mapping[_Key, RankPair]
"""Of all scores that some record has."""
PValues = Mapping[_Key, float | None]
"""Corrected over the pairs of scores."""


def section(material: Material) -> Section | None:
    """None where nothing is fine-tuned, or nothing known upstream."""
    values = {
        metric: by_seed(material.records, task, metric)
        for metric, task in (
            *((name, task) for name, (task, _) in _UPSTREAM.items()),
            *_DOWNSTREAM.items(),
        )
    }
    if not any(values[name] for name in _DOWNSTREAM) or not any(values[n] for n in _UPSTREAM):
        return None
    pairs = {
        (upstream, downstream): rank_pair(values[upstream], values[downstream])
        for upstream in _UPSTREAM
        for downstream in _DOWNSTREAM
        if values[upstream] and values[downstream]
    }
    tested = {key: pair.apart for key, pair in pairs.items() if pair.apart is not None}
    p_values = dict(zip(tested, holm([one.p_value for one in tested.values()]), strict=True))
    made, _ = known_rows(material.records)
    tests = run_tests(
        list(made.values()),
        {name: values[name] for name in _DOWNSTREAM},
        partial(p_of_pairs, material),
    )
    blocks: list[Block] = []
    if any(pair.together is not None for pair in pairs.values()):
        blocks.append(_correlation_grid(pairs, p_values))
    order = {row.name.backbone: at for at, row in enumerate(material.table.rows, start=1)}
    blocks += _plots(pairs, order, len(material.table.seeds))
    blocks += finding_blocks(tests, material.table.benchmark)
    return Section(
        key="upstream-downstream",
        title="Does upstream predict downstream?",
        lead=_lead(pairs, p_values),
        blocks=tuple(blocks),
        left_out=tuple(_left_out(values, pairs, tests, len(material.table.seeds))),
    )


def _lead(pairs: Pairs, p_values: PValues) -> str:
    said = []
    for downstream in _DOWNSTREAM:
        if not any(key[1] == downstream for key in pairs):
            continue
        said.append(_main_answer(pairs, downstream, p_values))
        probes = [
            (name, found)
            for name in _UPSTREAM
            if name != "top1"
            and (name, downstream) in pairs
            and (found := pairs[name, downstream].apart) is not None
        ]
        sure = [
            _UPSTREAM[name][1]
            for name, found in probes
            if found.tau > 0 and is_evidence(found, p_values[name, downstream])
        ]
        if sure:
            which = "all of them do" if len(sure) == len(probes) > 1 else f"{', '.join(sure)}"
            said.append(f"Of the probes: {which}.")
        elif probes:
            said.append(f"Of no probe there is evidence that it predicts {downstream}.")
    return " ".join(said)


def _main_answer(pairs: Pairs, downstream: str, p_values: PValues) -> str:
    """Whether top-1 ranks the backbones as a downstream score does."""
    pair = pairs.get(("top1", downstream))
    names = [] if pair is None else pair.names(controls=False)
    count = len(names)
    if pair is None or pair.apart is None:
        why = (
            f"{count or 'no'} pretrained backbone{'' if count == 1 else 's'} with both scores of "
            f"the same seeds, and ranks need {FEWEST}"
            if count < FEWEST
            else f"the {count} backbones do not differ in one of the two"
        )
        return f"Whether top-1 predicts {downstream} cannot be said: {why}."
    found = pair.apart
    over = f"{found.n} backbones, {_seeds(len(pair.seeds))} each"
    without = f", without {named(list(pair.others))}, lacking some of these" if pair.others else ""
    shown = f"Kendall's tau {_tau(found)}, over {over}{without}"
    if not is_evidence(found, p_values["top1", downstream]):
        return f"There is no evidence that top-1 predicts {downstream} here: {shown}."
    how = "predicts" if found.tau > 0 else "ranks backbones against"
    return f"Top-1 {how} {downstream} here: {shown}."


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def _tau(found: RankCorrelation | None) -> str:
    if found is None:
        return "–"
    return f"{found.tau:+z.2f}{'' if found.ci95 is None else f' {_interval(found)}'}"


def _correlation_grid(pairs: Pairs, p_values: PValues) -> Grid:
    rows: list[tuple[Cell, ...]] = []
    for (upstream, downstream), pair in pairs.items():
        found, p = pair.apart, p_values.get((upstream, downstream))
        more = any(map(is_control, pair.values))
        told = f"seed{'' if len(pair.seeds) == 1 else 's'} {', '.join(map(str, pair.seeds))}"
        rows.append(
            (
                Cell(text=_UPSTREAM[upstream][1]),
                Cell(text=downstream),
                number(None if found is None else found.tau, 2, signed=True),
                Cell(text="–" if found is None else _interval(found)),
                number(len(pair.names(controls=False)), 0),
                Cell(text=f"{len(pair.seeds)}", sort=len(pair.seeds), detail=told),
                Cell(text="–") if p is None else Cell(text=f"{p:.2g}", sort=p),
                _verdict_cell(found, p, len(p_values)),
                _together_cell(pair.together if more else None),
            )
        )
    header: tuple[str, ...] = (
        "95% interval",
        "rows",
        "seeds",
        "p",
        "does it predict?",
        "tau with controls",
    )
    notes = []
    if any(_UPSTREAM[upstream][0] == "probes" for upstream, _ in pairs):
        notes.append(
            "Probes classify the pretraining's own images: they measure in-domain features."
        )
    if any(row[-1].text != "–" for row in rows):
        notes.append(
            "With controls, one gap between random and trained weights may be all that is ranked."
        )
    else:
        header, rows = header[:-1], [row[:-1] for row in rows]
    return Grid(
        caption="Kendall's tau-b between the ranks of backbones, means over seeds",
        header=("upstream", "downstream", "tau", *header),
        rows=tuple(rows),
        notes=(
            f"Rows: pretrained backbones with both scores of all these seeds, {FEWEST} at least; "
            "those that lack one of the seeds are not ranked. Interval: Fieller's, from 5 rows on. "
            "p: two-sided, of no association, corrected over the lines of this table (Holm). No "
            "evidence: the interval holds 0 or is not known, or p is 0.05 or more.",
            "Backbones are taken as a sample; those of one study share recipes, data and teachers, "
            "so that the intervals are rather too narrow. The spread over seeds pulls tau to 0.",
            *notes,
        ),
    )


def _interval(found: RankCorrelation) -> str:
    return "–" if found.ci95 is None else f"[{found.ci95[0]:+z.2f}, {found.ci95[1]:+z.2f}]"


def _verdict_cell(found: RankCorrelation | None, p: float | None, tests: int) -> Cell:
    if found is None:
        return Cell(text="–")
    if is_evidence(found, p):
        return Cell(text="yes" if found.tau > 0 else "the other way round")
    alone = found.ci95 is not None and not found.ci95[0] <= 0 <= found.ci95[1]
    told = (
        "the interval leaves out 0 for this line alone; over the "
        f"{tests} lines that are tested it could still be chance (Holm)"
    )
    return Cell(text="no evidence", detail=told if alone else "")


def _together_cell(found: RankCorrelation | None) -> Cell:
    if found is None:
        return Cell(text="–")
    return Cell(text=_tau(found), sort=found.tau, detail=f"of {found.n} rows")


def _plots(pairs: Pairs, order: Mapping[str, int], asked: int) -> list[Plot]:
    plots = []
    for downstream in _DOWNSTREAM:
        points = {}
        for upstream in _UPSTREAM:
            of = _points(pairs.get((upstream, downstream)), order, asked)
            trained = [point for point in of if not point.control]
            # Controls lie far off, and would press the others together.
            chosen = trained if len(trained) >= 3 else of
            if len(chosen) >= 2:
                points[upstream] = chosen
        if "top1" in points:
            plots.append(_named_plot(points["top1"], downstream, pairs["top1", downstream].apart))
        panels = {name: of for name, of in points.items() if name != "top1"}
        if panels:
            plots.append(_panels_plot(panels, downstream, pairs))
    return plots


def _points(pair: RankPair | None, order: Mapping[str, int], asked: int) -> list[Point]:
    if pair is None:
        return []
    both = [(pair.values, False), (pair.others, True)]
    return [
        Point(
            backbone=name,
            number=order.get(name, 0),
            control=is_control(name),
            x=x,
            y=y,
            lacks=other_seeds(x.n, pair.seeds, asked) if lacks else "",
        )
        for found, lacks in both
        for name, (x, y) in found.items()
    ]


def _named_plot(points: Sequence[Point], downstream: str, found: RankCorrelation | None) -> Plot:
    count = len(points)
    names = "" if count <= MOST_LABELS else f"; the {MOST_LABELS} best are named"
    several = any(point.x.n > 1 or point.y.n > 1 for point in points)
    shown = (
        "means and 95% intervals over seeds, where there are several; wide ones are cut off, all "
        "at 0 and 100"
        if several
        else "one seed"
    )
    return Plot(
        caption=f"Top-1 and {downstream}: {shown}{_lacking_words(points)}{names}",
        alt=f"Scatter plot of top-1 against {downstream} of {count} backbones; Kendall's tau "
        f"{_tau(found)}.",
        draw=draw_named(points, x="top-1", y=downstream),
        size=(8.0, height_for(count, least=4.2)),
        narrow=narrow_size(count),
    )


def _panels_plot(panels: Mapping[str, Sequence[Point]], downstream: str, pairs: Pairs) -> Plot:
    taus = ", ".join(
        f"{_UPSTREAM[name][1]} {_tau(pairs[name, downstream].apart)}" for name in panels
    )
    every = [point for of in panels.values() for point in of]
    names = len({point.number for point in every})
    most = f"; the {MOST_NUMBERS} best are numbered" if names > MOST_NUMBERS else ""
    squares = "; squares: random weights" if any(point.control for point in every) else ""
    return Plot(
        caption=f"Probes of frozen features and {downstream}: the numbers are the backbones listed "
        f"below them{most}{squares}{_lacking_words(every)}",
        alt=f"Scatter plots of {len(panels)} probes against {downstream}; Kendall's tau of the "
        f"pretrained backbones: {taus}.",
        draw=draw_panels({_UPSTREAM[name][1]: of for name, of in panels.items()}, y=downstream),
        size=panels_size(len(panels), names),
        narrow=panels_size(len(panels), names, narrow=True),
    )


def _lacking_words(points: Iterable[Point]) -> str:
    marked = any(point.lacks for point in points)
    return "; hollow and †: lack some of the seeds, not ranked" if marked else ""


def _left_out(
    values: Mapping[str, BySeed], pairs: Pairs, tests: Sequence[Test], asked: int
) -> Iterable[str]:
    probed = [name for name, (task, _) in _UPSTREAM.items() if task == "probes"]
    if not any(values[name] for name in probed):
        yield "Probes of frozen features: not measured; `--tasks probes` measures them."
    for downstream, task in _DOWNSTREAM.items():
        of = {key[0]: pair for key, pair in pairs.items() if key[1] == downstream}
        if not values[downstream]:
            yield f"{downstream}: there is no record of {task} with a score."
        elif all(len(pair.values) + len(pair.others) < 2 for pair in of.values()):
            yield f"Plots of {downstream}: fewer than two backbones have an upstream score, too."
        yield from _too_few(downstream, of)
        yield from _of_other_seeds(downstream, of, asked)
    if all(test.difference is None for test in tests):
        yield (
            "The paper's finding that label smoothing, distillation and mixup help detection and "
            "not segmentation: no two rows with scores of one seed differ by one of them alone."
        )


def _too_few(downstream: str, pairs: Mapping[str, RankPair]) -> Iterable[str]:
    few: dict[int, list[str]] = {}
    for upstream, pair in pairs.items():
        if (count := len(pair.names(controls=False))) < FEWEST:
            few.setdefault(count, []).append(_UPSTREAM[upstream][1])
    for count, titles in few.items():
        yield (
            f"Rank correlation of {downstream} with {', '.join(titles)}: {count} pretrained "
            f"backbone{'' if count == 1 else 's'} with both; it needs {FEWEST}."
        )


def _of_other_seeds(downstream: str, pairs: Mapping[str, RankPair], asked: int) -> Iterable[str]:
    lacking: dict[tuple[str, ...], list[str]] = {}
    for upstream, pair in pairs.items():
        told = tuple(
            f"{name} ({other_seeds(x.n, pair.seeds, asked)})"
            for name, (x, _) in pair.others.items()
        )
        if told:
            lacking.setdefault(told, []).append(_UPSTREAM[upstream][1])
    for told, titles in lacking.items():
        yield (
            f"Ranks of {downstream} with {', '.join(titles)} are without rows that lack some of "
            f"the others' seeds: {named(told)}."
        )
