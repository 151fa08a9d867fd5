"""Does upstream predict downstream? Ranks of backbones by cheap scores against mAP and mIoU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eval.intervals import Interval, interval
from eval.records import Record, TaskName
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Paragraph, Plot, Section, number
from eval.sections.upstream_plots import MOST_LABELS, Point, draw_named, draw_panels
from eval.significance import LEVEL, RankCorrelation, holm, rank_correlation
from eval.softened_labels import TRICKS, Test, judge, run_tests
from eval.trick_worth import known_rows

_UPSTREAM: dict[str, tuple[TaskName, str]] = {
    "top1": ("classification", "top-1"),
    "linear_probe": ("probes", "linear probe"),
    "knn": ("probes", "k-NN"),
    "few_shot_1": ("probes", "few-shot 1%"),
    "few_shot_5": ("probes", "few-shot 5%"),
    "few_shot_10": ("probes", "few-shot 10%"),
}
_DOWNSTREAM: dict[str, TaskName] = {"mAP": "detection", "mIoU": "segmentation"}
_FEWEST = 3
"""Backbones that a rank correlation needs."""

Means = dict[str, dict[str, Interval]]
"""metric -> backbone -> its mean over seeds."""
Found = dict[tuple[str, str], RankCorrelation | None]
"""(upstream, downstream) -> their correlation; no key where fewer than two backbones have both."""


def section(material: Material) -> Section | None:
    """None where nothing is fine-tuned, or nothing known upstream."""
    values = {
        metric: _by_seed(material.records, task, metric)
        for metric, task in (
            *((name, task) for name, (task, _) in _UPSTREAM.items()),
            *_DOWNSTREAM.items(),
        )
    }
    if not any(values[name] for name in _DOWNSTREAM) or not any(values[n] for n in _UPSTREAM):
        return None
    means: Means = {
        metric: {
            backbone: mean
            for backbone, of in by_backbone.items()
            if (mean := interval(list(of.values()))) is not None
        }
        for metric, by_backbone in values.items()
    }
    order = {row.name.backbone: at for at, row in enumerate(material.table.rows, start=1)}
    made, _ = known_rows(material.records)
    apart, together = (_correlations(means, controls=controls) for controls in (False, True))
    tested = [key for key, found in apart.items() if found is not None]
    corrected = holm([found.p_value for found in apart.values() if found is not None])
    p_values = dict(zip(tested, corrected, strict=True))
    tests = run_tests(list(made.values()), {name: values[name] for name in _DOWNSTREAM})
    blocks: list[Block] = []
    if any(found is not None for found in together.values()):
        blocks.append(_correlation_grid(means, apart, together, p_values))
    blocks += _plots(means, order, apart)
    blocks += _hypothesis(tests, material.table.benchmark)
    return Section(
        key="upstream-downstream",
        title="Does upstream predict downstream?",
        lead=_lead(means, apart, p_values),
        blocks=tuple(blocks),
        left_out=tuple(_left_out(values, means, tests)),
    )


def _by_seed(records: Iterable[Record], task: TaskName, metric: str) -> dict[str, dict[int, float]]:
    """backbone -> seed -> value, of the runs that have one."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record.task != task or record.status != "ok" or metric not in record.metrics:
            continue
        if (value := record.metrics[metric].value) is not None:
            found.setdefault(record.backbone, {})[record.seed] = value
    return found


def _is_control(backbone: str) -> bool:
    return backbone.startswith("scratch:")


def _both(means: Means, upstream: str, downstream: str, *, controls: bool) -> list[str]:
    """The backbones that have both scores."""
    return [
        backbone
        for backbone in means[upstream]
        if backbone in means[downstream] and (controls or not _is_control(backbone))
    ]


def _correlations(means: Means, *, controls: bool) -> Found:
    found: Found = {}
    for upstream in _UPSTREAM:
        for downstream in _DOWNSTREAM:
            names = _both(means, upstream, downstream, controls=controls)
            if len(names) >= 2:
                found[upstream, downstream] = rank_correlation(
                    [means[upstream][name].mean for name in names],
                    [means[downstream][name].mean for name in names],
                )
    return found


def _lead(means: Means, found: Found, p_values: Mapping[tuple[str, str], float | None]) -> str:
    said = []
    for downstream in _DOWNSTREAM:
        if not means[downstream]:
            continue
        said.append(_main_answer(means, downstream, found, p_values))
        probes = {
            name: p_values[name, downstream]
            for name in _UPSTREAM
            if name != "top1" and (name, downstream) in p_values
        }
        sure = [
            _UPSTREAM[name][1]
            for name, p_value in probes.items()
            if p_value is not None and p_value < LEVEL and _positive(found[name, downstream])
        ]
        if sure:
            which = "all of them do" if len(sure) == len(probes) > 1 else f"{', '.join(sure)}"
            said.append(f"Of the probes: {which}.")
        elif probes:
            said.append("No probe is shown to.")
    return " ".join(said)


def _positive(found: RankCorrelation | None) -> bool:
    return found is not None and found.tau > 0


def _main_answer(
    means: Means,
    downstream: str,
    found: Found,
    p_values: Mapping[tuple[str, str], float | None],
) -> str:
    """Whether top-1 ranks the backbones as a downstream score does."""
    count = len(_both(means, "top1", downstream, controls=False))
    tau = found.get(("top1", downstream))
    if tau is None:
        why = (
            f"{count or 'no'} pretrained backbone{'' if count == 1 else 's'} with both scores, and "
            f"ranks need {_FEWEST}"
            if count < _FEWEST
            else f"the {count} backbones do not differ in one of the two"
        )
        return f"Whether top-1 predicts {downstream} cannot be said: {why}."
    p_value = p_values["top1", downstream]
    shown = f"Kendall's tau {_tau(tau)}, over {tau.n} backbones"
    if p_value is None or p_value >= LEVEL:
        return f"There is no evidence that top-1 predicts {downstream} here: {shown}."
    how = "predicts" if tau.tau > 0 else "ranks backbones against"
    return f"Top-1 {how} {downstream} here: {shown}."


def _tau(found: RankCorrelation | None) -> str:
    if found is None:
        return "–"
    bounds = "" if found.ci95 is None else f" [{found.ci95[0]:+.2f}, {found.ci95[1]:+.2f}]"
    return f"{found.tau:+.2f}{bounds}"


def _correlation_grid(
    means: Means,
    apart: Found,
    together: Found,
    p_values: Mapping[tuple[str, str], float | None],
) -> Grid:
    header = ["upstream"]
    for downstream in _DOWNSTREAM:
        header += [f"{downstream}, pretrained", "p", f"{downstream}, with controls"]
    rows = []
    for upstream, (_, title) in _UPSTREAM.items():
        if not means[upstream]:
            continue
        cells = [Cell(text=title)]
        for downstream in _DOWNSTREAM:
            pair = (upstream, downstream)
            p_value = p_values.get(pair)
            cells.append(_tau_cell(apart.get(pair)))
            cells.append(
                Cell(text="–") if p_value is None else Cell(text=f"{p_value:.2g}", sort=p_value)
            )
            more = any(map(_is_control, _both(means, upstream, downstream, controls=True)))
            cells.append(_tau_cell(together.get(pair) if more else None))
        rows.append(tuple(cells))
    return Grid(
        caption="Kendall's tau-b between the ranks of backbones, means over seeds",
        header=tuple(header),
        rows=tuple(rows),
        notes=(
            "In brackets: 95% interval (Fieller), from 5 backbones on. p: two-sided, "
            "of no association, corrected over the pairs of scores (Holm).",
            "Backbones are taken as a sample; those of one study share recipes, data and teachers, "
            "so that the intervals are rather too narrow. The spread over seeds pulls tau to 0.",
            "Probes classify the pretraining's own images: they measure in-domain features.",
            "With controls, one gap between random and trained weights may be all that is ranked.",
        ),
    )


def _tau_cell(found: RankCorrelation | None) -> Cell:
    if found is None:
        return Cell(text="–")
    return Cell(text=f"{_tau(found)}, n = {found.n}", sort=found.tau)


def _plots(means: Means, order: Mapping[str, int], found: Found) -> list[Plot]:
    plots = []
    for downstream in _DOWNSTREAM:
        points = {
            name: _points(means, name, downstream, order)
            for name in _UPSTREAM
            if len(_both(means, name, downstream, controls=True)) >= 2
        }
        for name, of in points.items():
            trained = [point for point in of if not point.control]
            if len(trained) >= _FEWEST:  # controls lie far off, and would press these together
                points[name] = trained
        if "top1" in points:
            count = len(points["top1"])
            named = "" if count <= MOST_LABELS else f"; the {MOST_LABELS} best are named"
            plots.append(
                Plot(
                    caption=f"Top-1 and {downstream}: means and 95% intervals over seeds, where "
                    f"there are several; wide ones are cut off{named}",
                    alt=f"Scatter plot of top-1 against {downstream} of {count} backbones; "
                    f"Kendall's tau {_tau(found.get(('top1', downstream)))}.",
                    draw=draw_named(points["top1"], x="top-1", y=downstream),
                    size=(7.4, 4.0 if count <= 24 else 5.2),
                )
            )
        panels = {_UPSTREAM[name][1]: of for name, of in points.items() if name != "top1"}
        if panels:
            taus = ", ".join(
                f"{_UPSTREAM[name][1]} {_tau(found.get((name, downstream)))}"
                for name in points
                if name != "top1"
            )
            plots.append(
                Plot(
                    caption=f"Probes of frozen features and {downstream}: the numbers are the "
                    "backbones listed beside them, without controls where there are enough others",
                    alt=f"Scatter plots of {len(panels)} probes against {downstream}; Kendall's "
                    f"tau of the pretrained backbones: {taus}.",
                    draw=draw_panels(panels, y=downstream),
                    size=(9.0, 5.4 if len(panels) >= 3 else 2.9),
                )
            )
    return plots


def _points(means: Means, upstream: str, downstream: str, order: Mapping[str, int]) -> list[Point]:
    return [
        Point(
            backbone=name,
            number=order.get(name, 0),
            control=_is_control(name),
            x=means[upstream][name],
            y=means[downstream][name],
        )
        for name in _both(means, upstream, downstream, controls=True)
    ]


def _hypothesis(tests: Sequence[Test], benchmark: str) -> list[Block]:
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
    return [Paragraph(text=text), _hypothesis_grid(tests)]


def _hypothesis_grid(tests: Sequence[Test]) -> Grid:
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
                Cell(text="–" if bounds is None else f"[{bounds[0]:+.2f}, {bounds[1]:+.2f}]"),
                Cell(text="–" if difference is None else str(difference.n)),
                number(test.p_value, 3),
                Cell(text=test.effect),
                Cell(text=f"{len(test.pairs)}", sort=len(test.pairs), detail=pairs),
            )
        )
    notes = [
        "Difference with the trick less without it, in points: of each seed the mean over pairs of "
        "rows that differ by the trick (by mixup: and the epochs that the paper gives it), then "
        "Student's interval over seeds. "
        "p: corrected over these tests (Holm).",
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


def _left_out(
    values: Mapping[str, Mapping[str, Mapping[int, float]]], means: Means, tests: Sequence[Test]
) -> Iterable[str]:
    probed = [name for name, (task, _) in _UPSTREAM.items() if task == "probes"]
    if not any(values[name] for name in probed):
        yield "Probes of frozen features: not measured; `--tasks probes` measures them."
    for downstream, task in _DOWNSTREAM.items():
        if not values[downstream]:
            yield f"{downstream}: there is no record of {task} with a score."
        elif all(len(_both(means, name, downstream, controls=True)) < 2 for name in _UPSTREAM):
            yield f"Plots of {downstream}: fewer than two backbones have an upstream score, too."
    for downstream in _DOWNSTREAM:
        few: dict[int, list[str]] = {}
        for upstream, (_, title) in _UPSTREAM.items():
            count = len(_both(means, upstream, downstream, controls=False))
            if means[upstream] and means[downstream] and count < _FEWEST:
                few.setdefault(count, []).append(title)
        for count, titles in few.items():
            yield (
                f"Rank correlation of {downstream} with {', '.join(titles)}: {count} pretrained "
                f"backbone{'' if count == 1 else 's'} with both; it needs {_FEWEST}."
            )
    if all(test.difference is None for test in tests):
        yield (
            "The paper's finding that label smoothing, distillation and mixup help detection and "
            "not segmentation: no two rows with scores of one seed differ by one of them alone."
        )
