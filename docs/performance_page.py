"""docs/performance.md: what was measured against whom, the fast paths, and a plan for ImageNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs.bench_results import (
    COMMAND,
    FOLDER,
    SECONDS,
    TARGETS,
    Result,
    read_benches,
    results,
)
from docs.growth_figure import FIGURE
from docs.imagenet_plan import (
    Row,
    fine_tuning,
    hours,
    images_per_second,
    rows,
    utilisation,
)
from docs.markdown import GENERATED, escape, table
from engine.fast_paths import FAST_PATHS, VARIABLE
from eval.gpu_rates import GPUS, PAPER_MINUTES

PAGE = Path("docs/performance.md")

ASSUMED_RATES = {"crop_flip": 250.0, "paper_aug": 200.0, "randaugment": 150.0}
"""Images per second and core as long as bench/input.py has not been run."""
AUGMENTATIONS = {
    "crop_flip": "crop and flip",
    "paper_aug": "the paper's, with colour and lighting",
    "randaugment": "RandAugment",
}
KILOBYTES = 110
"""Of an average file of ImageNet: 1.28 million take some 140 GB."""
GRADIENT_MEGABYTES = 102
"""ResNet-50's 25.6 million parameters in float32."""
CHUNK = 128
"""Images of a step on one GPU: 1024 on 8."""


def performance_page(root: Path) -> dict[Path, str]:
    """The page by path. root: where docs/bench/*.json lie."""
    return {PAGE: render(read_benches(root))}


def render(benches: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole page. benches: the JSON of each bench by its name, as far as it was run."""
    parts = [
        GENERATED,
        "# Performance",
        "What is measured, where it stands, and what to expect at the size of ImageNet. The "
        f"measured numbers come from `{COMMAND}`, which runs Trickle and what a user would pick "
        "instead in turns on one machine; those of the plan for ImageNet are computed, and say "
        "so.",
        "## Against others",
        _against_others(results(benches)),
        _machines(benches),
        "## How soon an answer is there",
        _answers(benches.get("cli")),
        "## How long the report takes",
        _report(benches.get("report")),
        "## Fast paths",
        _fast_paths(),
        "## How cost grows",
        _growth(benches.get("growth")),
        "## A plan for ImageNet",
        _plan(benches.get("input"), benches.get("growth")),
        "## Threads, workers, and waiting for data",
        _threads(),
    ]
    return "\n\n".join(parts) + "\n"


def _against_others(found: list[Result]) -> str:
    lines = [
        [
            f"[`{result.bench}`](../bench/{result.bench}.py)",
            f"`{result.peer}`",
            "not measured yet" if result.ratio is None else f"{result.ratio:.2f}",
            "–" if result.quartiles is None else " to ".join(f"{q:.2f}" for q in result.quartiles),
            "–" if result.target is None else f"{result.target:.1f}",
            {None: "–", True: "yes", False: "**no**"}[result.met],
        ]
        for result in found
    ]
    return (
        "The ratio is Trickle's rate over the peer's: the median over rounds in which both run one "
        "after the other, with the quartiles of the rounds' own ratios. Each bench says in its "
        "docstring what the peer does, which is the same work, and checks that both sides get the "
        "same result.\n\n"
        + table(["bench", "peer", "ratio:", "quartiles:", "aimed at:", "reached"], lines)
    )


LEAST_OF = ("train_step", "pretrain_epoch", "frozen_head")
"""Benches whose ratios are the least over the configurations that lie in their raw part by name."""


def _machines(benches: Mapping[str, Mapping[str, Any]]) -> str:
    """Which machine, when and what was installed, once for all benches that agree on it."""
    if not benches:
        return f"Nothing has been measured yet: `{COMMAND}`."
    said: dict[str, list[str]] = {}
    for name, data in benches.items():
        about = ", ".join(
            f"{key.replace('_', ' ')} {escape(str(value))}"
            for key, value in data["machine"].items()
            if key != "load_average"
        )
        versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items() if k != "git_revision")
        said.setdefault(f"{about}; {versions}", []).append(name)
    lines = [f"- {', '.join(names)}: {about}." for about, names in said.items()]
    missing = [name for name in TARGETS if name not in benches]
    lines += [
        f"- {name}: the least ratio of {', '.join(benches[name]['raw'])}, all that was run."
        for name in LEAST_OF
        if name in benches
    ]
    if missing:
        lines.append(f"- not measured yet: {', '.join(missing)}.")
    one = f"`make bench BENCHES=NAME` measures one; the raw times lie in `{FOLDER.as_posix()}/`."
    return "\n".join(lines) + f"\n\n{one}"


COMMANDS = {
    "help": "`eval/run_transfer.py --help`",
    "list": "`eval/run_transfer.py --list`",
    "nothing_to_do": "`make run` where all is done, its look at the data included",
}


def _answers(data: Mapping[str, Any] | None) -> str:
    medians = {} if data is None else data["raw"]["medians"]
    lines = [
        [
            COMMANDS[name],
            f"{medians[name]:.2f}" if name in medians else "not measured yet",
            f"{most:.1f}",
            ("yes" if medians[name] <= most else "**no**") if name in medians else "–",
        ]
        for name, most in SECONDS.items()
    ]
    return (
        "Medians of whole processes, from the start of Python to its end, by "
        "[`cli`](../bench/cli.py).\n\n"
        + table(["command", "seconds:", "at most:", "reached"], lines)
    )


_MOST_PARTS = 6
"""Of the report, that are named; the others come together."""


def _report(data: Mapping[str, Any] | None) -> str:
    about = (
        "`trickle report` over 500 synthetic records of mini's size, most of them with evidence, "
        "in a process of its own, by [`report`](../bench/report.py); no training, no network."
    )
    if data is None:
        return f"{about} Not measured yet: `make bench BENCHES=report`."
    raw = data["raw"]
    budget = raw["budget"]
    whole = [
        ["seconds", f"{raw['seconds']:.1f}", f"{budget['seconds']:.0f}"],
        ["peak memory, MB", f"{raw['megabytes']:.0f}", f"{budget['megabytes']:,.0f}"],
    ]
    for line, name in zip(whole, ("seconds", "megabytes"), strict=True):
        line.append("yes" if raw[name] <= budget[name] else "**no**")
    parts = sorted(raw["parts"].items(), key=lambda part: -part[1])
    named = ", ".join(f"{escape(name)} {seconds:.1f} s" for name, seconds in parts[:_MOST_PARTS])
    others = sum(seconds for _, seconds in parts[_MOST_PARTS:])
    return (
        f"{about}\n\n"
        + table([f"{raw['records']} records", "taken:", "at most:", "reached"], whole)
        + f"\n\nOf {raw['processor_seconds']:.1f} s of processor: {named}, all else "
        f"{others:.1f} s."
    )


def _fast_paths() -> str:
    lines = [[f"`{name}`", escape(about)] for name, about in sorted(FAST_PATHS.items())]
    return (
        f"Each has its plain way in the code, and one switch: `{VARIABLE}=all` takes the plain way "
        f"everywhere, `{VARIABLE}=NAME,NAME` for those that it names. The tests hold both ways to "
        "the tolerance that stands here, and a record's protocol names what was switched off.\n\n"
        + table(["name", "what is done; how far it may lie from the plain way"], lines)
    )


def _growth(data: Mapping[str, Any] | None) -> str:
    about = (
        "Four sizes of each, and the slope of a straight line through them on logarithmic axes: "
        "1 is in proportion, 0 does not grow."
    )
    if data is None:
        return f"{about} Not measured yet: `make bench BENCHES=growth`."
    lines = [
        [
            curve["driver"],
            curve["name"],
            ", ".join(f"{size:,}" for size in curve["sizes"]),
            ", ".join(_figure(value) for value in curve["values"]),
            curve["unit"],
            f"{curve['exponent']:.2f} ± {curve['error']:.2f}",
        ]
        for curve in data["raw"]["curves"]
    ]
    return (
        f"{about} The last column has the standard error of the fit.\n\n"
        + table(["of", "what", "sizes", "cost", "in", "slope:"], lines)
        + f"\n\n![Cost against size]({FIGURE.relative_to(PAGE.parent).as_posix()})"
    )


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _plan(inputs: Mapping[str, Any] | None, growth: Mapping[str, Any] | None) -> str:
    every = rows()
    student = next(row for row in every if row.name == "resnet50d_efficient")
    return "\n\n".join(
        [
            _assumptions(),
            "### Expected GPU-hours",
            _hours(every),
            "### What bounds a pretraining",
            _bounds(student, inputs),
            "### Starting",
            _starting(growth),
        ]
    )


def _assumptions() -> str:
    minutes = ", ".join(f"{value} minutes for {name}" for name, value in PAPER_MINUTES.items())
    lines = [
        [
            gpu.name,
            f"{gpu.tflops:g}",
            f"{gpu.bandwidth:g}",
            *(f"{100 * utilisation(gpu, family):.1f}%" for family in PAPER_MINUTES),
            f"{gpu.float32:.1f}",
        ]
        for gpu in GPUS
    ]
    return (
        "**Computed, not measured.** A training step takes GMACs x 2 x 3 operations an image "
        "(multiply and add; forward, and twice as much backward), a teacher GMACs x 2. The GMACs "
        "are counted on the networks themselves. On the V100 the share of the peak is what the "
        f"paper's Table 3 comes to for an epoch on 8 of them: {minutes}. For the others it is "
        "assumed that images per second grow as the bandwidth of the memory, which bounds networks "
        "of this kind sooner than arithmetic does. In float32 the V100 took 3.0 times as long in "
        "that table; for the others, whose tensor cores take TF32, 2 is assumed.\n\n"
        + table(
            [
                "GPU",
                "peak, half precision, TFLOP/s:",
                "memory, TB/s:",
                *(f"of the peak, {family}:" for family in PAPER_MINUTES),
                "float32 takes:",
            ],
            lines,
        )
    )


def _hours(every: list[Row]) -> str:
    lines = [
        [
            row.table,
            f"`{row.name}`" if " " not in row.name else row.name,
            f"{row.images / 1e6:,.1f}",
            f"{row.gmacs:.2f}" + (f" + {row.forward:.2f}" if row.forward else ""),
            *(f"{hours(gpu, row):,.0f}" for gpu in GPUS),
        ]
        for row in every
    ]
    return (
        "Of one seed. `+` is a teacher's forward pass, whose own training has a row of its own and "
        "is done once. Validation adds some 4% an epoch, and the control from random weights has "
        "no pretraining. Fine-tuning is taken at the same share of the peak as ResNet-50's "
        "pretraining; layers that a protocol freezes are counted as if they were trained.\n\n"
        + table(
            [
                "table of the paper",
                "row",
                "million images:",
                "GMACs an image:",
                *(f"{gpu.name} hours:" for gpu in GPUS),
            ],
            lines,
        )
    )


def _bounds(student: Row, inputs: Mapping[str, Any] | None) -> str:
    rates, measured = _rates(inputs)
    cores = [
        [
            f"{AUGMENTATIONS[name]}",
            f"{rate:,.0f}",
            *(f"{images_per_second(gpu, student) / rate:.1f}" for gpu in GPUS),
        ]
        for name, rate in rates.items()
    ]
    slow = [images_per_second(GPUS[1], row) for row in fine_tuning()]
    fastest = [images_per_second(gpu, student) for gpu in GPUS]
    batch = CHUNK * 224 * 224 * 3 / 1e6
    workers = -(-fastest[1] // rates["paper_aug"])
    steps = [rate / CHUNK for rate in fastest]
    disk = " / ".join(f"{rate * KILOBYTES / 1000:,.0f}" for rate in fastest)
    ring = " / ".join(f"{step * GRADIENT_MEGABYTES * 2 / 1000:.1f}" for step in steps)
    source = (
        "measured by `bench/input.py` with one thread on 500x375 pixels"
        if measured
        else "**assumed**: `bench/input.py` has not been run"
    )
    names = " / ".join(gpu.name for gpu in GPUS)
    return "\n\n".join(
        [
            f"For `{student.name}`, {' / '.join(f'{rate:,.0f}' for rate in fastest)} images a "
            f"second on one {names}.",
            f"**Decoding, most often.** Images per second and core are {source}; the other columns "
            "are how many such cores one GPU keeps busy. A machine with fewer waits for its data "
            "(see below). Cores that are two threads of one count as little more than one.",
            table(
                [
                    "augmentation",
                    "images/s and core, then cores",
                    *(f"for one {g.name}:" for g in GPUS),
                ],
                cores,
            ),
            f"**Disk or network file system.** Files have {KILOBYTES} kB on average, so {disk} "
            "MB/s a GPU in random order until the page cache holds the 140 GB; where memory is "
            "smaller than that, always. A disk of spinning platters gives some 1 MB/s in that "
            "order: copy the data to flash, or use a machine of 192 GB and let the first epoch be "
            "slow.",
            "**Host memory.** A process takes what torch takes, and the index of the images is one "
            "memory-mapped file that all share (see *How cost grows*). A batch of "
            f"{CHUNK} uint8 images of 224 pixels is {batch:.0f} MB; each worker holds 2 in shared "
            f"memory, so that {workers:.0f} workers hold {workers * 2 * batch / 1000:.1f} GB in "
            "`/dev/shm`. Docker's default of 64 MB does not do: `--shm-size`, which "
            "`trickle doctor` looks at.",
            "**Network between GPUs.** A step sends ResNet-50's "
            f"{GRADIENT_MEGABYTES} MB of gradients twice round the ring: at {CHUNK} images a step "
            f"and GPU {ring} GB/s in each direction. NVLink has that many times over, PCIe about; "
            "between machines of 8 GPUs the ring passes each network card once, so 25 Gbit/s "
            "(3 GB/s) are enough for V100 and A100.",
            f"**Detection and segmentation** are bound by the GPU: an {GPUS[1].name} takes "
            f"{' and '.join(f'{rate:.0f}' for rate in slow)} images a second, which one or two "
            "cores decode and resize.",
        ]
    )


def _rates(inputs: Mapping[str, Any] | None) -> tuple[dict[str, float], bool]:
    """Images per second and core at 224 pixels, and whether that was measured."""
    if inputs is None:
        return dict(ASSUMED_RATES), False
    found = inputs["raw"]["images_per_second"]
    return {name: found[f"trickle_{name}_224"] for name in AUGMENTATIONS}, True


def _starting(growth: Mapping[str, Any] | None) -> str:
    text = (
        "The names of all files are listed once into an index in the user's cache, which every "
        "later process maps; whether a folder has changed is seen by its times. Every start also "
        "looks at the size and the time of each file (some microseconds each where the file "
        "system has them in memory, by the curve above; over a network it is the latency that "
        "counts, so that 1.3 "
        "million files at 0.2 ms take four minutes for each job: then a local copy pays). "
        "`trickle validate` reads everything once, and `--full` compares every byte."
    )
    measured = (growth or {}).get("raw", {}).get("imagenet")
    if measured is None:
        return text
    return (
        f"{text} Measured with {measured['files']:,} files in {measured['classes']:,} folders: "
        f"{measured['build_seconds']:.1f} s for the first listing, "
        f"{measured['open_seconds']:.2f} s to map it later and {measured['check_seconds']:.1f} s "
        f"for all sizes and times, {measured['start_seconds']:.1f} s for a start. A process that "
        f"has reached 10,000 of them holds {measured['rss_megabytes']:.0f} MB of memory, of which "
        f"{measured['private_megabytes']:.0f} MB are its own; one that imports torch and the "
        f"pretraining's data set as well {measured['torch_rss_megabytes']:.0f} MB, "
        f"{measured['torch_private_megabytes']:.0f} MB its own, and without any images "
        f"{measured['torch_alone_rss_megabytes']:.0f} MB."
    )


def _threads() -> str:
    return (
        "Threads are chosen once for all stages, from the cores that a job may use (its share of "
        "the machine, a container's quota included), and stand in the job's log: arithmetic has "
        "that many, images are decoded by one each, and a thread that waits sleeps "
        "(`OMP_WAIT_POLICY=PASSIVE`), so that a busy neighbour costs its share and not ten times "
        "that. What you set in the environment stays.\n\n"
        "Workers are a benchmark's (`workers` of each stage in its TOML file). Their number "
        "changes no result. The log has a line an epoch, `waited for data N% of it`, TensorBoard "
        "has `train/data_wait_share`, a record's cost `data_wait_share` in 0..1. Below a tenth "
        "there is nothing to win. Above that a note at the end of the run says how many workers "
        "would cure it, or that there are too few cores for as many: then a cheaper augmentation, "
        "smaller files or another machine helps, and more workers do not. With 0 workers loading "
        "and arithmetic take turns, and the share is what loading takes."
    )
