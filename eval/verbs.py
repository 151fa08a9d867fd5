"""What the verbs of the command line do, and the exit code for whatever comes of it.

Each verb imports what it needs when its arguments are known: help and wrong usage answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine.fast_paths import switched_off
from eval.arguments import make_parser, make_transfer_parser
from eval.early import nothing_begun
from eval.jobs import TASKS
from eval.termination import Terminated, termination_as_interrupt
from eval.text import visible

if TYPE_CHECKING:
    from eval.executors import Where
    from eval.transfer import Question

USAGE_ERROR = 2
GOES_ON = "What is finished stays; the same command goes on from there."
BEGINS_ANEW = "Nothing half written stays; the same command begins anew."
_AFTER_INTERRUPT = {
    **dict.fromkeys(("run", "pretrain", "finetune", "prepare"), GOES_ON),
    "export": BEGINS_ANEW,
}
_ONLY_TELL = ("list", "dry_run")


def trickle(argv: Sequence[str]) -> int:
    """`trickle`; see `eval.cli`."""
    return _guarded(lambda: _dispatch(make_parser(), ["trickle"], argv))


def run_transfer(argv: Sequence[str]) -> int:
    """`python eval/run_transfer.py`: the same as `trickle run`."""
    return _guarded(
        lambda: _dispatch(make_transfer_parser(), ["python", "eval/run_transfer.py"], argv)
    )


def _dispatch(parser: argparse.ArgumentParser, program: Sequence[str], argv: Sequence[str]) -> int:
    arguments = parser.parse_args(argv)
    command = shlex.join([*program, *argv])
    try:
        command.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{command}: holds a name that is not UTF-8 and could not be recorded; rename it"
        ) from None
    _require_known_paths()
    _load_recipes(arguments)
    try:
        return _ANSWERS[arguments.verb](arguments, command)
    except KeyboardInterrupt as interrupt:
        told = _AFTER_INTERRUPT.get(arguments.verb)
        if told and not any(getattr(arguments, flag, False) for flag in _ONLY_TELL):
            interrupt.add_note(told)
        raise


def _guarded(answer: Callable[[], int]) -> int:
    """The exit code for whatever comes; on SIGTERM and SIGHUP as on Ctrl-C."""
    try:
        with termination_as_interrupt():
            code = answer()
            if sys.stdout is not None:  # closed before we began
                sys.stdout.flush()  # Python itself would do so later, and say less if it fails
            return code
    except UsageError as error:
        _print_error(error)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return 0
    except OSError as error:
        _print_refusal(error)
        return 1
    except KeyboardInterrupt as interrupt:
        with suppress(OSError):  # SIGHUP: the terminal is gone
            first, *more = _notes_of(interrupt) or [""]
            told = [f"\nInterrupted. {first}".rstrip(" "), *more]
            print("\n".join(told), file=sys.stderr)
        return 128 + (
            interrupt.signal_number if isinstance(interrupt, Terminated) else signal.SIGINT
        )


def _notes_of(interrupt: KeyboardInterrupt) -> list[str]:
    """What the code that was interrupted has to say, the outermost first."""
    return list(reversed(getattr(interrupt, "__notes__", [])))


def _print_error(error: Exception) -> None:
    print(f"error: {visible(str(error))}", file=sys.stderr)


def _print_refusal(error: OSError) -> None:
    """What the system refused; Python does not say so where it is our standard output."""
    try:
        if error.filename is None and sys.stdout is not None:
            print(flush=True)  # what failed to be written was thrown away, so that we try again
    except OSError:
        _discard_output()
        reason = error.strerror or str(error)
        print(f"error: standard output cannot be written: {reason}", file=sys.stderr)
    else:
        _print_error(error)


def _discard_output() -> None:
    """What is still unwritten would fail once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class UsageError(Exception):
    """Something that the user gave cannot be used; its text is all that they need."""


def _run(arguments: argparse.Namespace, command: str) -> int:
    """Trains what is missing and tabulates."""
    if arguments.list:
        return _list(arguments, command)
    if arguments.json:
        raise UsageError("--json goes with --list")
    return _answer(arguments, command, tasks=arguments.tasks)


def _pretrain(arguments: argparse.Namespace, command: str) -> int:
    """Trains backbones only."""
    return _answer(arguments, command, tasks=[], controls=False)


def _require_known_paths() -> None:
    """Before anything is begun: each job would fail on it."""
    try:
        switched_off()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _load_recipes(arguments: argparse.Namespace) -> None:
    if (file := getattr(arguments, "recipes", None)) is None:
        return
    with nothing_begun():
        from classification.recipes.user_file import RecipeFileError, load_user_file

    try:
        load_user_file(file)
    except RecipeFileError as error:
        raise UsageError(str(error)) from error


def _list(arguments: argparse.Namespace, command: str) -> int:
    """Every architecture, recipe, trick and benchmark."""
    with nothing_begun():
        from eval.listing import make_listing, to_json, to_text, tricks_to_text

    listing = make_listing()
    if arguments.json:
        print(to_json(listing))
    else:
        only_tricks = getattr(arguments, "tricks", False)
        print(tricks_to_text(listing) if only_tricks else to_text(listing))
    return 0


def _show(arguments: argparse.Namespace, command: str) -> int:
    """The numbers of one pretraining."""
    with nothing_begun():
        from benchmarks.schema import load_benchmark
        from eval.show import show, to_text

    try:
        benchmark = load_benchmark(arguments.benchmark)
        shown = show(arguments.backbone, benchmark, argument=arguments.benchmark)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(json.dumps(shown, indent=2, ensure_ascii=False) if arguments.json else to_text(shown))
    return 0


def _report(arguments: argparse.Namespace, command: str) -> int:
    """The tables of what is recorded."""
    with nothing_begun():
        from eval.transfer import report, report_folders

    try:
        out, sources = report_folders(arguments.directories, arguments.out, arguments.benchmark)
        report(
            out,
            sources=sources,
            benchmark=arguments.benchmark,
            protocols=arguments.protocol,
            baseline=arguments.baseline,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0


def _validate(arguments: argparse.Namespace, command: str) -> int:
    """Reads the data in full."""
    with nothing_begun():
        from benchmarks.schema import load_benchmark
        from eval.validate import to_report, to_text, validate_benchmark

    try:
        verdict = validate_benchmark(
            load_benchmark(arguments.benchmark),
            tolerate=arguments.tolerate,
            full=arguments.full,
            workers=arguments.workers,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arguments.json:
        print(json.dumps(to_report(verdict), indent=2))
    else:
        print(visible(to_text(verdict)))
    for line in verdict.refused:
        print(visible(line), file=sys.stderr)
    return USAGE_ERROR if verdict.refused else 0


def _prepare(arguments: argparse.Namespace, command: str) -> int:
    """Makes a published data set ready."""
    with nothing_begun():
        from benchmarks.official.prepare_data import prepare_data
        from benchmarks.official.releases import RELEASES
        from eval.preparation import to_text

    source, target = (
        Path(folder).expanduser().absolute() for folder in (arguments.source, arguments.target)
    )
    try:
        prepared = prepare_data(RELEASES[arguments.dataset], source, target)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(visible(to_text(prepared)))
    return 0


def _export(arguments: argparse.Namespace, command: str) -> int:
    """Writes an artifact as another library loads it."""
    from eval.specs import tuning_of

    row = tuning_of(arguments.artifact) is not None and not Path(arguments.artifact).exists()
    if row:
        raise UsageError(
            f"{arguments.artifact} is the name of a row, not of a folder: expected the folder of a "
            "classifier. That of a fine-tuned row lies in OUT/work/finetune-.../classifier; "
            "`trickle report OUT` names it, and the command that exports it, in its last line"
        )
    with nothing_begun():
        from backbones.card import ArtifactError
        from eval.export.export import export
        from eval.export.targets import ExportError

    try:
        folder, use = export(arguments.artifact, arguments.to, arguments.out)
    except (ArtifactError, ExportError) as error:
        raise UsageError(str(error)) from error
    print(visible(f"{folder} is written, and was checked to compute the same. To load it:"))
    for line in use.split("\n"):
        print(visible(f"  {line}"))
    return 0


def _finetune(arguments: argparse.Namespace, command: str) -> int:
    """From a folder of labelled images to a classifier."""
    with nothing_begun():
        from eval.finetune_folder import FolderQuestion, dry_run_folder, tune_folder

    try:
        question = FolderQuestion(
            data=Path(arguments.data),
            unlabelled=None if arguments.unlabelled is None else Path(arguments.unlabelled),
            backbones=tuple(arguments.backbone or ()),
            recipes=tuple(arguments.recipe or ()),
            folds=arguments.folds,
            image_size=arguments.image_size,
            seeds=tuple(arguments.seeds),
            out=arguments.out,
            command=command,
            tolerate=arguments.tolerate,
            full=arguments.full,
            auto_accumulate=arguments.auto_accumulate,
            where=_where(arguments),
            track=tuple(arguments.track),
        )
        if arguments.dry_run:
            dry_run_folder(question)
            return 0
        tuning = tune_folder(question)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _carried_out(tuning.execute, tuning.first.question)


def _doctor(arguments: argparse.Namespace, command: str) -> int:
    """Looks at what a run depends on."""
    with nothing_begun():
        from eval.doctor import diagnose, healthy, to_report, to_text

    out = None if arguments.out is None else Path(arguments.out).expanduser().absolute()
    sections = diagnose(benchmark=arguments.benchmark, out=out)
    if arguments.json:
        print(json.dumps(to_report(sections), indent=2))
    else:
        print(to_text(sections))
    return 0 if healthy(sections) else 1


def _answer(
    arguments: argparse.Namespace,
    command: str,
    *,
    tasks: list[str] | None,
    controls: bool = True,
) -> int:
    with nothing_begun():
        from eval.transfer import Run, dry_run

    try:
        question = _question(arguments, command, tasks=tasks, controls=controls)
        if arguments.dry_run:
            dry_run(question)
            return 0
        run = Run(question)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return _carried_out(run.execute, question)


def _carried_out(execute: Callable[[], int], question: Question) -> int:
    """A ValueError from here on is a defect of ours, and keeps its traceback."""
    try:
        return execute()
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as interrupt:
        if report := _report_of(question.out, question.benchmark.name):
            interrupt.add_note(f"A table of what is done so far: {visible(report)}")
        raise
    except OSError as error:
        _print_refusal(error)
        print(f"Stopped. {GOES_ON}", file=sys.stderr)
        return 1


def _report_of(out: Path, benchmark: str) -> str:
    """The command that tabulates what is recorded of the benchmark; empty where nothing is."""
    from eval.records import read_records
    from eval.screen import shown_path

    there = {record.benchmark for record in read_records(out / "records").by_key.values()}
    if benchmark not in there:
        return ""
    choice = ("--benchmark", benchmark) if len(there) > 1 else ()
    return shlex.join(["trickle", "report", shown_path(out), *choice])


def _question(
    arguments: argparse.Namespace, command: str, *, tasks: list[str] | None, controls: bool
) -> Question:
    _check_ablation(arguments)
    with nothing_begun():
        from eval.ablation import PERMUTATIONS, Wish
        from eval.transfer import ask

    wish = None
    if arguments.ablate:
        wish = Wish(
            backbones=tuple(arguments.ablate),
            mode=arguments.ablation or "stack",
            permutations=arguments.permutations or PERMUTATIONS,
        )

    chosen = None if tasks is None else [task for task in TASKS if task in tasks]
    question = ask(
        arguments.backbone or [],
        ablation=wish,
        benchmark=arguments.benchmark,
        seeds=arguments.seeds,
        out=arguments.out,
        command=command,
        tasks=chosen,
        controls=controls,
        tolerate=arguments.tolerate,
        full=arguments.full,
        auto_accumulate=arguments.auto_accumulate,
        baseline=getattr(arguments, "baseline", None),
        where=_where(arguments),
        track=arguments.track,
    )
    untrained = [spec.name for spec in question.specs if spec.kind != "trained"]
    if untrained and not controls:
        raise ValueError(f"nothing to pretrain in {', '.join(untrained)}: give names as in --list")
    return question


def _where(arguments: argparse.Namespace) -> Where:
    """Where the jobs run; options of one executor beside another are a mistake."""
    from eval.executors import Kind, Where

    kind: Kind = getattr(arguments, "executor", "local")
    given = {
        "ray": [
            name
            for name, value in (
                ("--ray-address", getattr(arguments, "ray_address", None)),
                ("--storage", getattr(arguments, "storage", "auto") != "auto"),
            )
            if value
        ],
        "slurm": [
            f"--slurm-{name}"
            for name in ("partition", "time", "gpus", "cpus", "set")
            if getattr(arguments, f"slurm_{name}", None) not in (None, [])
        ],
    }
    for other, names in given.items():
        if names and kind != other:
            raise ValueError(f"{names[0]} goes with --executor {other}")
    if kind == "ray":
        return Where(kind=kind, ray_address=arguments.ray_address, storage=arguments.storage)
    if kind != "slurm":
        return Where()
    from eval.slurm_executor import SlurmOptions

    chosen = {
        "partition": arguments.slurm_partition,
        "minutes": arguments.slurm_time,
        "gpus": arguments.slurm_gpus,
        "cpus": arguments.slurm_cpus,
    }
    options = {name: value for name, value in chosen.items() if value is not None}
    return Where(kind=kind, slurm=SlurmOptions(**options, more=dict(arguments.slurm_set)))


def _check_ablation(arguments: argparse.Namespace) -> None:
    """Raises ValueError where --ablate and what goes with it contradict each other."""
    if arguments.ablate and arguments.backbone:
        raise ValueError("--ablate chooses the backbones: give it without --backbone, or run both")
    if arguments.ablation and not arguments.ablate:
        raise ValueError("--ablation goes with --ablate SPEC, for example resnet50d_mixup_distill")
    if arguments.permutations and arguments.ablation != "shapley":
        raise ValueError("--permutations goes with --ablation shapley")
    if not arguments.backbone and not arguments.ablate:
        raise ValueError("no --backbone given; for example --backbone resnet50d_mixup (or --list)")


_ANSWERS: dict[str, Callable[[argparse.Namespace, str], int]] = {
    "run": _run,
    "pretrain": _pretrain,
    "list": _list,
    "show": _show,
    "report": _report,
    "validate": _validate,
    "prepare": _prepare,
    "doctor": _doctor,
    "export": _export,
    "finetune": _finetune,
}
