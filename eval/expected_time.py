"""How long a plan may take: from records of earlier jobs, and how sure that is.

The best known of these is taken for each job: the seconds of jobs of the same protocol and
architecture; those of the same architecture, scaled by the work; those of another, scaled by GMACs
too. First from OUT itself, then from the folders beside it. Where there is nothing of the kind, a
rule measured on mini; and where that says nothing either, the time is unknown.
"""

from __future__ import annotations

import heapq
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from backbones import sizes
from backbones.card import ArtifactError, read_card
from benchmarks.errors import DataError
from benchmarks.schema import Benchmark, load_benchmark
from classification.derived import find_recipe
from classification.names import architecture_of_teacher
from classification.protocol import pretraining_protocol
from classification.tricks.fast_auto_augment import MOST_IMAGES, SEARCH, FastAutoAugment
from classification.tricks.plain_views import PlainViews
from classification.tricks.pseudo_labels import PseudoLabels
from detection.protocol import detection_protocol
from eval.architecture_of_record import architecture_of
from eval.execute import default_slots, on_gpu
from eval.jobs import Job, JobKind
from eval.layout import Layout
from eval.plan import Plan
from eval.recording import as_planned
from eval.records import Record, Records, canonical, read_records
from eval.show import training_images
from segmentation.protocol import segmentation_protocol

START_SECONDS = 10.0
"""Of a process beside what it computes, where no record says so; measured on mini's jobs."""

# Of a pretraining step's parts, measured on mini (docs/trick_overhead.json, docs/results.md): in
# units of what one image costs a network of one GMAC in half precision, forward and backward.
FLOAT32 = 1.95
TEACHER = 0.2
STEP = 0.3
HEAD_STEP = 0.085
"""Where the head alone learns, which needs no backward pass through the backbone (frozen_head of
docs/bench)."""
FORWARD = 1 / 3

_MINI_SECONDS: dict[JobKind, float] = {
    "classification": 227,
    "detection": 75,
    "segmentation": 61,
    "finetune": 227,  # a step is that of a pretraining
}
# At 224 pixels, so that torch need not be loaded to count them.
_QUARTER_WIDE = {"resnet50d": 0.27245568, "resnet152d": 0.736483328}
_MOST_NEIGHBORS = 10

MEASURED = "measured: the same protocol and architecture"
SCALED = "scaled by the work of jobs with the same architecture"
BY_GMACS = "scaled by work and GMACs of another architecture"
BESIDE = ", in folders beside this one"
RULE = "a rule measured on mini (one thread of a Xeon a job, no GPU), rough elsewhere"
START = "a process that trains nothing"
UNKNOWN = "unknown: nothing of the kind is recorded"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of one job. seconds: None where nothing is known. basis: what it rests on."""

    seconds: float | None
    basis: str


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """by_job: of the jobs to do, by their ids. seconds: of the whole, `slots` jobs at once."""

    by_job: Mapping[str, Estimate]
    seconds: float
    slots: int

    @property
    def one_after_the_other(self) -> float:
        return sum(estimate.seconds or 0.0 for estimate in self.by_job.values())

    @property
    def unknown(self) -> int:
        """Jobs whose time is unknown and not counted."""
        return sum(estimate.seconds is None for estimate in self.by_job.values())

    @property
    def bases(self) -> list[tuple[str, int]]:
        """What the estimates rest on, and how many do."""
        return Counter(estimate.basis for estimate in self.by_job.values()).most_common()


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """A job that has been done. seconds: of its process; start: those in which it computed nothing.

    images: of the training set, where it is known.
    """

    kind: JobKind
    architecture: str
    seconds: float
    start: float
    protocol: Mapping[str, Any]
    gmacs: float | None
    images: float | None


def expected_times(
    plan: Plan,
    benchmark: Benchmark,
    records: Records,
    out: Path,
    *,
    slots: int | None = None,
    gpu: bool | None = None,
) -> Forecast:
    """What the jobs to do may take.

    records: of OUT. slots: how many run at once, by default as many as the executor would run.
    gpu: whether they run on one, of which mini's rule knows nothing; by default, as it is here.
    """
    slots = default_slots() if slots is None else slots
    gpu = on_gpu() if gpu is None else gpu
    here = _samples(records.by_key.values())
    sizes = _Sizes(benchmark, out, here)
    guesses = {job.id: _from_samples(job, here, sizes, "") for job in plan.todo}
    wanting = [job for job in plan.todo if _is_poor(guesses[job.id])]
    if wanting:
        beside = _samples(_neighbors(out))
        for job in wanting:
            other = _from_samples(job, beside, sizes, BESIDE)
            if guesses[job.id] is None or not _is_poor(other):
                guesses[job.id] = other
    rule = [] if gpu else _mini_samples()
    for job in plan.todo:
        if guesses[job.id] is None and (ruled := _from_samples(job, rule, sizes, "")) is not None:
            guesses[job.id] = Estimate(seconds=ruled.seconds, basis=RULE)
    unknown = Estimate(seconds=None, basis=UNKNOWN)
    by_job = {job_id: guess or unknown for job_id, guess in guesses.items()}
    return Forecast(by_job=by_job, seconds=makespan(plan.todo, by_job, slots), slots=slots)


def _is_poor(guess: Estimate | None) -> bool:
    return guess is None or guess.basis.startswith(BY_GMACS)


def makespan(jobs: Sequence[Job], by_job: Mapping[str, Estimate], slots: int) -> float:
    """Seconds until all are done, begun in their order as far as slots and their needs allow."""
    waiting = list(jobs)
    unfinished = {job.id for job in jobs}
    alone = {job.id for job in jobs if job.runs_alone}
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        for job in list(waiting):
            if running and alone.intersection({job.id, *(other for _, other in running)}):
                continue
            if len(running) < slots and not unfinished.intersection(job.needs):
                waiting.remove(job)
                heapq.heappush(running, (now + (by_job[job.id].seconds or 0.0), job.id))
        now, ended = heapq.heappop(running)
        unfinished.discard(ended)
    return now


def _from_samples(
    job: Job, samples: Sequence[_Sample], sizes: _Sizes, where: str
) -> Estimate | None:
    """The median of what the nearest samples say."""
    if job.kind == "obtain":
        starts = [sample.start for sample in samples] or [START_SECONDS]
        return Estimate(seconds=statistics.median(starts), basis=START)
    alike = [sample for sample in samples if sample.kind == job.kind]
    own = [sample for sample in alike if sample.architecture == job.spec.architecture]
    planned = canonical(job.protocol)
    same = [sample.seconds for sample in own if canonical(sample.protocol) == planned]
    if same:
        return Estimate(seconds=statistics.median(same), basis=MEASURED + where)
    for group, basis in ((own, SCALED), (alike, BY_GMACS)):
        scaled = [_scaled(job, sample, sizes) for sample in group]
        if known := [seconds for seconds in scaled if seconds is not None]:
            return Estimate(seconds=statistics.median(known), basis=basis + where)
    return None


def _scaled(job: Job, sample: _Sample, sizes: _Sizes) -> float | None:
    """The sample's seconds in proportion to the work of both."""
    before = sample.gmacs or sizes.gmacs(sample.architecture)
    if before is None:
        return None
    same = job.spec.architecture == sample.architecture
    gmacs = before if same else sizes.of(job)
    if gmacs is None:
        return None
    if job.kind in ("classification", "finetune"):
        images = sizes.images(job.protocol)
        work = pretraining_work(job.protocol, images, gmacs, sizes.gmacs)
        done = pretraining_work(sample.protocol, sample.images, before, sizes.gmacs)
    else:
        # Half of a fine-tuning's step are the heads, which are the same on every backbone.
        heads = before if job.kind in _PIXELS else 0.0
        work = _tuning_work(job.kind, job.protocol, gmacs + heads)
        done = _tuning_work(job.kind, sample.protocol, before + heads)
    if not work or not done:
        return None
    return (sample.seconds - sample.start) * work / done + sample.start


def pretraining_work(
    protocol: Mapping[str, Any],
    images: float | None,
    gmacs: float,
    gmacs_of: Callable[[str], float | None],
) -> float | None:
    """Of a pretraining: images times GMACs, in half precision, what a step costs besides added.

    images: of the training set. gmacs: of the backbone at 224 pixels. None where the teacher's
    size or the number of images is unknown.
    """
    recipe, budget = protocol.get("recipe"), protocol.get("budget")
    if not isinstance(recipe, dict) or not isinstance(budget, dict) or images is None:
        return None
    try:
        passes = (recipe["epochs"] + recipe["cooldown_epochs"]) * budget["epoch_scale"]
        batch = max(2, round(recipe["batch_size"] * budget["batch_size_scale"]))
        passes *= _rounds(recipe, batch)
        scale = (budget["image_size"] / 224) ** 2
        train_scale = scale * recipe["train_size_scale"] ** 2
        precision = FLOAT32 if recipe["precision"] == "float32" else 1.0
        teacher = 0.0
        if "distillation" in recipe["tricks"]:
            known = gmacs_of(architecture_of_teacher(recipe["tricks"]["distillation"]["teacher"]))
            if known is None:
                return None
            teacher = TEACHER * known
        frozen = recipe.get("tuning", {}).get("head_only", False)
        once = frozen and PlainViews.name in recipe["tricks"]  # features, not images, are shown
        image = train_scale * (precision * gmacs * (FORWARD if frozen else 1) + teacher)
        step = (HEAD_STEP if frozen else STEP) / batch
        learned = images * ((1 if once else passes) * image + passes * step)
        return float(learned + _search_work(recipe, images, train_scale * precision * gmacs))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _search_work(recipe: Mapping[str, Any], images: float, image: float) -> float:
    """Of a policy search: each trial is a forward pass over each image once. image: of a step."""
    knobs = recipe["tricks"].get(FastAutoAugment.name, {})
    if knobs.get("policy") != SEARCH:
        return 0.0
    return float((1 + knobs["trials"]) * min(images, MOST_IMAGES) * image * FORWARD)


def _rounds(recipe: Mapping[str, Any], batch: int) -> float:
    """How many trainings on the labelled images alone take as long as all rounds of pseudo-labels:
    the first is one, and the others have longer epochs, as part of each batch is pseudo-labelled.
    """
    tricks = recipe.get("tricks", {})
    if PseudoLabels.name not in tricks:
        return 1.0
    knobs = tricks[PseudoLabels.name]
    pseudo = PseudoLabels(share=knobs["share"]).of_batch(batch)
    return 1 + float(knobs["rounds"]) * batch / (batch - pseudo)


_PIXELS: dict[JobKind, str] = {"detection": "image_size", "segmentation": "crop_size"}


def _tuning_work(kind: JobKind, protocol: Mapping[str, Any], gmacs: float) -> float | None:
    """Iterations times images times pixels times GMACs; of a measurement, GMACs alone."""
    if kind not in _PIXELS:
        return gmacs
    try:
        budget = protocol["budget"]
        height, width = budget[_PIXELS[kind]]
        return float(budget["iterations"] * budget["batch_size"] * height * width * gmacs)
    except (KeyError, TypeError, ValueError):
        return None


class _Sizes:
    """GMACs of architectures at the benchmark's width, and images of its training set."""

    def __init__(self, benchmark: Benchmark, out: Path, samples: Sequence[_Sample]) -> None:
        self.benchmark = benchmark
        self.artifacts = Layout(out).artifacts
        quarter = _QUARTER_WIDE if benchmark.backbone.width == 0.25 else {}
        self.known: dict[str, float | None] = dict(quarter)
        self.known |= {s.architecture: s.gmacs for s in samples if s.gmacs is not None}
        self.samples = samples
        self.looked = False

    def images(self, protocol: Mapping[str, Any]) -> float | None:
        # Of several folds it is the images of all of them.
        keys = ("data", "division")
        same = [
            s.images
            for s in self.samples
            if all(s.protocol.get(key) == protocol.get(key) for key in keys)
        ]
        # The most: a training that stopped early, or a round that admitted none, tells of fewer.
        known = max((images for images in same if images), default=None)
        if known is None and protocol.get("stage") == "pretraining":
            return training_images(self.benchmark)
        if protocol.get("stage") == "finetune" and self.own_images is not None:
            return max(self.own_images, known or 0.0)
        return known

    @cached_property
    def own_images(self) -> float | None:
        return _own_images(self.benchmark)

    def of(self, job: Job) -> float | None:
        """GMACs of a job's backbone: those of an artifact that is given stand in its card."""
        if job.spec.kind == "artifact" and job.spec.file is not None:
            return (read_card(job.spec.file).cost or {}).get("gmacs")
        return self.gmacs(job.spec.architecture)

    def gmacs(self, architecture: str) -> float | None:
        if architecture not in self.known and not self.looked:
            self.looked = True
            for folder in sorted(self.artifacts.glob("*")):
                try:
                    card = read_card(folder)
                except (ArtifactError, OSError):
                    continue
                if size := (card.cost or {}).get("gmacs"):
                    self.known.setdefault(card.architecture, size)
        if architecture not in self.known:
            self.known[architecture] = _counted(architecture, self.benchmark.backbone.width)
        return self.known[architecture]


def _own_images(benchmark: Benchmark) -> float | None:
    """Those that all folds of a fine-tuning learn from, together; None where they are not there."""
    from benchmarks.labelled_images import read_labelled  # late: it loads numpy

    budget = benchmark.finetune
    if budget is None:
        return None
    try:
        train = read_labelled(budget, "train")
    except DataError:
        return None
    if train is None:
        return None
    if budget.validation == "kfold":
        return float(len(train.samples) * (budget.folds - 1))
    folds = budget.folds if budget.validation == "repeated" else 1
    return len(train.samples) * (1 - budget.validation_share) * folds


def _counted(architecture: str, width: float) -> float | None:
    """GMACs of one of our networks; None for those of others, which would take long to make."""
    return sizes.gmacs(architecture, width)


def _samples(records: Iterable[Record]) -> list[_Sample]:
    found = []
    for record in records:
        seconds, architecture = record.cost.get("seconds"), architecture_of(record)
        if record.status != "ok" or not seconds or architecture is None:
            continue
        # A resumed job's last process does not know of those before it.
        process = record.cost.get("process_seconds", 0.0)
        start = process - seconds if process > seconds else START_SECONDS
        found.append(
            _Sample(
                kind=record.task,
                architecture=architecture,
                seconds=seconds + start,
                start=start,
                protocol=as_planned(record.protocol),
                gmacs=record.cost.get("backbone_gmacs"),
                images=_images(record),
            )
        )
    return found


def _images(record: Record) -> float | None:
    """Of the training set, from how many steps there were."""
    try:
        recipe, budget = record.protocol["recipe"], record.protocol["budget"]
        batch = max(2, round(recipe["batch_size"] * budget["batch_size_scale"]))
        passes = (recipe["epochs"] + recipe["cooldown_epochs"]) * budget["epoch_scale"]
        return float(record.cost["iterations"] * batch / (passes * _rounds(recipe, batch)))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _neighbors(out: Path) -> list[Record]:
    """The records of other runs, in the folders beside OUT."""
    beside = [path for path in out.parent.glob("*/records") if path.parent != out]
    found: list[Record] = []
    for folder in sorted(beside)[:_MOST_NEIGHBORS]:
        found += read_records(folder).by_key.values()
    return found


def _mini_samples() -> list[_Sample]:
    """What resnet50d_mixup took on mini, as if it were recorded."""
    mini = load_benchmark("mini")
    recipe = find_recipe("mixup")
    protocols = {
        "classification": pretraining_protocol("resnet50d", recipe, mini, "mini"),
        "detection": detection_protocol(mini, "mini"),
        "segmentation": segmentation_protocol(mini, "mini"),
    }
    protocols["finetune"] = protocols["classification"]
    assert mini.world is not None, "mini is rendered"
    return [
        _Sample(
            kind=kind,
            architecture="resnet50d, a quarter wide",
            seconds=seconds + START_SECONDS,
            start=START_SECONDS,
            protocol=protocols[kind],
            gmacs=_QUARTER_WIDE["resnet50d"],
            images=mini.world.pretraining.train,
        )
        for kind, seconds in _MINI_SECONDS.items()
    ]
