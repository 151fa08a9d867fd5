"""`trickle finetune FOLDER`: the sensible thing with a folder of labelled images.

It writes a benchmark's file, asks which backbone has the best features for these images, and then
which score it reaches fine-tuned: two questions as `trickle run` answers them, in one OUT.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backbones.atomic import atomic_directory, write_json_atomic
from backbones.card import ArtifactError, read_card
from classification.derived import find_recipe
from classification.recipes import FINE_TUNING
from engine.tracking import DEFAULT_TRACKERS
from eval.candidates import Candidates, find_candidates
from eval.execute import on_gpu
from eval.executors import Where
from eval.expected_time import expected_times
from eval.layout import require_makable
from eval.own_benchmark import OwnBenchmark, own_benchmark
from eval.own_data import OwnData
from eval.own_division import division_in_words
from eval.probed import Probed, probed, ranked
from eval.records import read_records
from eval.screen import Screen, shown_path
from eval.transfer import Question, Run, ask, dry_run, output_folder
from eval.tuned_classifiers import EXPORTED, best_record, card_of, classifiers_of

if TYPE_CHECKING:
    from eval.execute import Outcome
    from eval.tracking import Tracking

PROXIES = "proxies.json"
_RECIPES = ("linear", "finetune")
"""By default: the first costs seconds, and is hard to beat with few images."""
_PSEUDO = "pseudo_labels"


@dataclass(frozen=True, kw_only=True)
class FolderQuestion:
    """What the command line says; None and empty: what suits the images."""

    data: Path
    unlabelled: Path | None = None
    backbones: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    folds: int | None = None
    image_size: int | None = None
    seeds: tuple[int, ...] = (0,)
    out: str | None = None
    command: str = ""
    tolerate: int = 0
    full: bool = False
    auto_accumulate: bool = False
    where: Where = Where()
    track: tuple[str, ...] = DEFAULT_TRACKERS

    @property
    def own(self) -> OwnData:
        places = (self.data, self.unlabelled)
        data, unlabelled = (p and p.expanduser().absolute() for p in places)
        assert data is not None, "it is not optional"
        return OwnData(
            data=data, unlabelled=unlabelled, folds=self.folds, image_size=self.image_size
        )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """out: absolute. candidates: as given, so that they can be read again; backbones: the rows that
    they are, by name. whole: every one with every recipe. probing: of several."""

    out: Path
    benchmark: OwnBenchmark
    candidates: Candidates
    backbones: tuple[str, ...]
    whole: Question
    probing: Question | None
    said: tuple[str, ...]

    def tuning(self, backbone: str) -> Question:
        """The question of one candidate alone, its recipes compared with the first."""
        specs = tuple(spec for spec in self.whole.specs if spec.untuned.name == backbone)
        baseline = specs[0].name if len(specs) > 1 else None
        return replace(self.whole, specs=specs, baseline=baseline)


def dry_run_folder(question: FolderQuestion) -> None:
    """What would be done, and how long it may take; nothing is written but to a folder that is
    gone afterwards. Raises ValueError as `tune_folder`."""
    with tempfile.TemporaryDirectory() as folder:
        asked = _ask(question, write_to=Path(folder))
        screen = Screen(asked.out)
        for line in asked.said:
            screen.say(line)
        screen.say()
        if asked.probing is not None:
            dry_run(asked.probing)
            screen.say(
                f"\nThen the best of these is fine-tuned; as an example, {asked.backbones[0]}:\n"
            )
        dry_run(asked.tuning(asked.backbones[0]))


def tune_folder(question: FolderQuestion) -> FolderTuning:
    """Ready to be executed: the benchmark's file is written and its data was looked at.

    Raises ValueError for images, backbones, recipes or an OUT that cannot be used; what was written
    is gone then.
    """
    out = _out(question)
    asked = _ask(question, write_to=out)
    with asked.benchmark.gone_if_refused():
        screen = Screen(out)
        for line in asked.said:
            screen.say(line)
        screen.say()
        return FolderTuning(asked, screen)


class FolderTuning:
    """Raises ValueError as `Run`."""

    def __init__(self, asked: _Asked, screen: Screen) -> None:
        self.asked, self.screen = asked, screen
        first = asked.probing or asked.tuning(asked.backbones[0])
        self.first = _Tuning(first) if asked.probing is None else Run(first)
        if asked.probing is not None:  # refused now, and not when all candidates are probed
            division_in_words(self.first.question.benchmark, asked.whole.seeds)

    def execute(self) -> int:
        """Probes, fine-tunes, reports, exports; 0, or 1 where some job failed.

        Raises OSError where OUT cannot be written, or is gone.
        """
        run, failed = self.first, False
        if self.asked.probing is not None:
            best, failed = self._choose(run)
            if best is None:
                self.screen.say("No candidate could be probed: nothing was fine-tuned.")
                return 1
            run = _Tuning(self.asked.tuning(best), warn=False)  # the probes' run has told them
        self._announce(run)
        failed = bool(run.execute()) or failed
        return 1 if failed else 0

    def _announce(self, run: Run) -> None:
        if run.plan.todo:
            forecast = expected_times(run.plan, run.question.benchmark, run.records, self.asked.out)
            self.screen.expected(forecast)

    def _choose(self, run: Run) -> tuple[str | None, bool]:
        """The candidate with the best linear probe, k-NN deciding between equals, and whether some
        job failed; kept in OUT/proxies.json."""
        file = self.asked.out / PROXIES
        candidates = list(self.asked.candidates.specs)
        _keep(file, {"candidates": candidates, "probes": {}, "chosen": None})
        self._announce(run)
        outcome, _ = run.work()
        records = read_records(run.layout.records).by_key
        found = probed(r for cell in run.plan.cells if (r := records.get(cell.key)) is not None)
        best = next(iter(ranked(found)), None)
        _keep(file, {"candidates": candidates, "probes": found, "chosen": best})
        for line in _probes_in_words(found, best):
            self.screen.say(line)
        return best, bool(outcome.failed)


class _Tuning(Run):
    """A run that exports before it reports, so that its page names what was exported."""

    exported: Sequence[str] = ()
    not_exported: OSError | None = None

    def work(self) -> tuple[Outcome, Tracking]:
        done = super().work()
        try:
            self.exported = _export(self)
        except OSError as error:  # the table comes all the same
            self.not_exported = error
        return done

    def execute(self, *, name_classifier: bool = False) -> int:
        code = super().execute(name_classifier=name_classifier)
        if self.not_exported is not None:
            raise self.not_exported
        for line in self.exported:
            self.screen.say(line)
        return code


def _out(question: FolderQuestion) -> Path:
    return output_folder(question.out, question.own.name)


def _ask(question: FolderQuestion, *, write_to: Path) -> _Asked:
    own, out = question.own.plain(), _out(question)
    require_makable(out)
    if not own.data.exists():
        raise ValueError(f"nothing is at {own.data}: give a folder of images, or a CSV file")
    recipes, of_recipes = _recipes(question)
    gpu = question.where.kind != "local" or on_gpu()
    candidates = _candidates(question, out)
    benchmark = own_benchmark(own, out, write_to=write_to, gpu=gpu, tolerate=question.tolerate)

    def asked(texts: Sequence[str], tasks: list[str] | None, seeds: Sequence[int]) -> Question:
        return ask(
            list(texts),
            benchmark=str(benchmark.file),
            seeds=list(seeds),
            out=str(out),
            command=question.command,
            tasks=tasks,  # type: ignore[arg-type]
            controls=False,
            tolerate=question.tolerate,
            full=question.full,
            auto_accumulate=question.auto_accumulate,
            where=question.where,
            track=question.track,
        )

    specs = candidates.specs
    with benchmark.gone_if_refused():
        whole = asked([f"{s}~{recipe}" for s in specs for recipe in recipes], None, question.seeds)
        names = tuple(dict.fromkeys(spec.untuned.name for spec in whole.specs))
        return _Asked(
            out=out,
            benchmark=benchmark,
            candidates=candidates,
            backbones=names,
            whole=whole,
            probing=asked(specs, ["probes"], question.seeds[:1]) if len(names) > 1 else None,
            said=(*benchmark.said, *candidates.said, *of_recipes),
        )


def _recipes(question: FolderQuestion) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of recipes, and what there is to say. Raises UnknownNameError."""
    if question.recipes:
        for name in question.recipes:
            find_recipe(name, FINE_TUNING)
        return tuple(dict.fromkeys(question.recipes)), ()
    names = _RECIPES if question.unlabelled is None else (*_RECIPES, f"{_RECIPES[-1]}+{_PSEUDO}")
    return names, (
        f"Recipes: {', '.join(names)}; the one that validates best gives the classifier",
    )


def _candidates(question: FolderQuestion, out: Path) -> Candidates:
    """As given, else those that were probed in OUT before, else what can be found."""
    if question.backbones:
        return Candidates(specs=question.backbones, said=())
    try:
        kept = json.loads((out / PROXIES).read_text(encoding="utf-8"))["candidates"]
    except (OSError, ValueError, KeyError, TypeError):
        return find_candidates(out)
    if not isinstance(kept, list) or not kept or not all(isinstance(s, str) for s in kept):
        return find_candidates(out)
    line = f"Backbones: those of {shown_path(out / PROXIES)}"
    return Candidates(specs=tuple(kept), said=(line,))


def _keep(file: Path, content: dict[str, object]) -> None:
    write_json_atomic(file, content)


def _probes_in_words(found: Probed, best: str | None) -> list[str]:
    if best is None:
        return []
    width = max(len(name) for name in found)
    lines = [f"{'':<{width}}  linear probe  k-NN"]
    for name in ranked(found):
        probe, knn = (found[name][key] for key in ("linear_probe", "knn"))
        lines.append(f"{name:<{width}}  {probe:12.1f}  {knn:4.1f}")
    said = f"Chosen: {best}, by the linear probe on the training images, out of fold"
    return ["", *lines, f"{said}; the test images had no part in it.", ""]


def _export(run: Run) -> list[str]:
    """Copies the classifier that validated best to OUT; lines on how to use it."""
    best = best_record(run.plan.select(read_records(run.layout.records)))
    if best is None:
        return ["No classifier was exported: no fine-tuning came to its end."]
    root = run.layout.root
    target = root / EXPORTED
    lies = classifiers_of([best.record], [run.layout], below=root).get(best.record.key)
    if lies is None:
        kept = "" if card_of(target) is None else f"; {shown_path(target)}/ stays as it was"
        gone = "that of the best row is gone from its work folder"
        return [f"No classifier was exported: {gone}{kept}"]
    source = root / lies.path
    try:
        read_card(source)
        if card_of(target) != card_of(source):
            with atomic_directory(target) as temporary:
                shutil.copytree(source, temporary, dirs_exist_ok=True)
    except ArtifactError as error:
        return [f"No classifier was exported: {error}"]
    which = f"; {lies.which}" if lies.which else ""
    shown = shown_path(target)
    return [
        "",
        f"Classifier: {shown}/ ({best.record.backbone}, {best.said}{which})",
        f"  trickle export {shown} --to onnx",
        "  (or timm, torchvision, huggingface, where they have such a network)",
        "In Python:",
        "  from classification.predict import load_predictor",
        f'  print(load_predictor("{shown}")("photo.jpg"))',
    ]
