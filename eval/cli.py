"""The command line: `trickle VERB`, and `python eval/run_transfer.py`.

Nothing heavy is imported here: help, lists and wrong usage answer at once.
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

from benchmarks.schema import load_benchmark
from eval.jobs import TASKS
from eval.listing import make_listing, to_json, to_text, tricks_to_text
from eval.process import Terminated, termination_as_interrupt
from eval.show import show
from eval.show import to_text as shown_to_text
from eval.text import visible
from eval.transfer import Question, Run, ask, dry_run, output_folder, report

USAGE_ERROR = 2
GOES_ON = "What is finished stays; the same command goes on from there."
_SPEC_HELP = (
    "resnet50d_mixup, scratch:resnet50d, timm:<model>[@FILE], torchvision:<model>[@NAME], "
    "a path to an artifact, or a quoted wildcard like 'resnet50d_*'"
)


def main(argv: Sequence[str] | None = None) -> int:
    """`trickle`. Exit code 0: all done; 1: some job failed; 2: wrong usage; 130, 143: Ctrl-C,
    SIGTERM."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = make_parser().parse_args(argv)
    return _guarded(lambda: _dispatch(arguments, shlex.join(["trickle", *argv])))


def transfer_main(argv: Sequence[str] | None = None) -> int:
    """`python eval/run_transfer.py`: the same as `trickle run`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = make_transfer_parser().parse_args(argv)
    command = shlex.join(["python", "eval/run_transfer.py", *argv])
    return _guarded(lambda: _dispatch(arguments, command))


def make_parser() -> argparse.ArgumentParser:
    """The parser of `trickle`; each verb's `run` default says which function answers it."""
    parser = argparse.ArgumentParser(
        prog="trickle",
        description="Which ImageNet training tricks trickle down to detection and segmentation?",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run", help="pretrain, fine-tune, tabulate", description=_run.__doc__, allow_abbrev=False
    )
    _add_transfer_flags(run)
    pretrain = verbs.add_parser(
        "pretrain",
        help="pretrain backbones, nothing more",
        description=_pretrain.__doc__,
        allow_abbrev=False,
    )
    _add_common_flags(pretrain)
    pretrain.set_defaults(answer=_pretrain)
    listing = verbs.add_parser("list", help="every name that a command takes", allow_abbrev=False)
    listing.add_argument("--tricks", action="store_true", help="the tricks: knobs, source, effect")
    listing.add_argument("--json", action="store_true", help="as JSON")
    _add_recipes_flag(listing)
    listing.set_defaults(answer=_list)
    shown = verbs.add_parser(
        "show",
        help="every number of a pretraining, and which trick set it",
        description=_show.__doc__,
        allow_abbrev=False,
    )
    shown.add_argument("backbone", metavar="BACKBONE", help="for example resnet50d_mixup")
    shown.add_argument(
        "--benchmark", default="mini", metavar="NAME|FILE", help="mini, paper or a TOML file"
    )
    shown.add_argument("--json", action="store_true", help="as JSON")
    _add_recipes_flag(shown)
    shown.set_defaults(answer=_show)
    tables = verbs.add_parser(
        "report",
        help="write the tables again from the records",
        description=_report.__doc__,
        allow_abbrev=False,
    )
    tables.add_argument("--out", metavar="DIR", help="default: runs/<benchmark>, or runs/mini")
    tables.add_argument("--benchmark", metavar="NAME", help="where DIR holds several")
    tables.set_defaults(answer=_report)
    validation = verbs.add_parser(
        "validate",
        help="read every file of a benchmark's data once",
        description=_validate.__doc__,
        allow_abbrev=False,
    )
    validation.add_argument("benchmark", metavar="NAME|FILE", help="mini, paper or a TOML file")
    _add_data_flags(validation)
    validation.add_argument(
        "--workers", type=_positive, metavar="N", help="processes; default: one for each core"
    )
    validation.add_argument("--json", action="store_true", help="as JSON")
    validation.set_defaults(answer=_validate)
    doctor = verbs.add_parser(
        "doctor",
        help="versions, devices, data and folders, and what is wrong with them",
        description=_doctor.__doc__,
        allow_abbrev=False,
    )
    doctor.add_argument(
        "--benchmark", metavar="NAME|FILE", help="whose data has to be there; default: mini"
    )
    doctor.add_argument("--out", metavar="DIR", help="look into the OUT of a run, too")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(answer=_doctor)
    return parser


def make_transfer_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_transfer.py", description=_run.__doc__, allow_abbrev=False
    )
    _add_transfer_flags(parser)
    return parser


def _add_common_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backbone", nargs="+", metavar="SPEC", help=_SPEC_HELP)
    add("--benchmark", default="mini", metavar="NAME|FILE", help="mini, paper or a TOML file")
    add("--seeds", nargs="+", type=_seed, default=[0], metavar="N", help="default: 0")
    add("--out", metavar="DIR", help="default: runs/<benchmark>")
    add("--dry-run", action="store_true", help="say which jobs there are, and do none")
    add(
        "--auto-accumulate",
        action="store_true",
        help="compute a batch that does not fit into memory in parts",
    )
    _add_data_flags(parser)
    _add_recipes_flag(parser)


def _add_transfer_flags(parser: argparse.ArgumentParser) -> None:
    _add_common_flags(parser)
    add = parser.add_argument
    add("--tasks", nargs="+", choices=TASKS, help="default: all that the benchmark has")
    add("--executor", choices=("local",), default="local", help="where the jobs run")
    add("--list", action="store_true", help="every name that --backbone and --benchmark take")
    add("--json", action="store_true", help="with --list: as JSON")
    parser.set_defaults(answer=_run)


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--tolerate",
        type=_count,
        default=0,
        metavar="N",
        help="leave out at most N unusable files of the data; default: 0, refuse",
    )
    add(
        "--full",
        action="store_true",
        help="compare every byte of the data with what it was when it was last read in full",
    )


def _add_recipes_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipes", metavar="FILE.py", help="recipes and tricks of your own")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"a seed is a number in 0..{2**31 - 1}, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of files, 0 or more, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number, 1 or more, not {text!r}")
    return int(text)


def _dispatch(arguments: argparse.Namespace, command: str) -> int:
    try:
        command.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{command}: holds a name that is not UTF-8 and could not be recorded; rename it"
        ) from None
    _load_recipes(arguments)
    answer: Callable[[argparse.Namespace, str], int] = arguments.answer
    return answer(arguments, command)


def _guarded(answer: Callable[[], int]) -> int:
    """The exit code for whatever comes; on SIGTERM and SIGHUP as on Ctrl-C."""
    try:
        with termination_as_interrupt():
            return answer()
    except UsageError as error:
        _print_error(error)
        return USAGE_ERROR
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _print_error(error)
        return 1
    except KeyboardInterrupt as interrupt:
        with suppress(OSError):  # SIGHUP: the terminal is gone
            print(f"\nInterrupted. {GOES_ON}", file=sys.stderr)
        return 128 + (
            interrupt.signal_number if isinstance(interrupt, Terminated) else signal.SIGINT
        )


def _print_error(error: Exception) -> None:
    print(f"error: {visible(str(error))}", file=sys.stderr)


class UsageError(Exception):
    """Something that the user gave cannot be used; its text is all that they need."""


def _run(arguments: argparse.Namespace, command: str) -> int:
    """Pretrains backbones, fine-tunes a detector and a segmentor on each and on its control from
    random weights, and tabulates what comes of it. What is done already is not done again; several
    runs may share one --out. Exit code 0: all done; 1: some job failed, or the run had to stop;
    2: wrong usage; 130, 143: ended by Ctrl-C, SIGTERM."""
    if arguments.list:
        return _list(arguments, command)
    if arguments.json:
        raise UsageError("--json goes with --list")
    return _answer(arguments, command, tasks=arguments.tasks)


def _pretrain(arguments: argparse.Namespace, command: str) -> int:
    """Pretrains backbones and exports them as artifacts; a teacher that is needed comes first."""
    return _answer(arguments, command, tasks=[], controls=False)


def _load_recipes(arguments: argparse.Namespace) -> None:
    if (file := getattr(arguments, "recipes", None)) is None:
        return
    from classification.recipes.user_file import RecipeFileError, load_user_file

    try:
        load_user_file(file)
    except RecipeFileError as error:
        raise UsageError(str(error)) from error


def _list(arguments: argparse.Namespace, command: str) -> int:
    """Every architecture, recipe, trick and benchmark."""
    listing = make_listing()
    if arguments.json:
        print(to_json(listing))
    else:
        only_tricks = getattr(arguments, "tricks", False)
        print(tricks_to_text(listing) if only_tricks else to_text(listing))
    return 0


def _show(arguments: argparse.Namespace, command: str) -> int:
    """Every number that the pretraining of a backbone will use, and which trick set it; first as
    the recipe says it for ImageNet, then as the benchmark scales it."""
    try:
        benchmark = load_benchmark(arguments.benchmark)
        shown = show(arguments.backbone, benchmark, argument=arguments.benchmark)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(to_json(shown) if arguments.json else shown_to_text(shown))
    return 0


def _report(arguments: argparse.Namespace, command: str) -> int:
    """Writes the tables of everything that is recorded in a directory."""
    try:
        out = output_folder(arguments.out, arguments.benchmark or "mini")
        report(out, benchmark=arguments.benchmark)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return 0


def _validate(arguments: argparse.Namespace, command: str) -> int:
    """Reads every file of a benchmark's data once: decodes it, checks annotations, counts classes,
    looks for test images among the training images, and keeps what every file was for later runs.
    Exit code 0: the data can be used; 2: it cannot, and the last lines say which files."""
    from eval.validate import to_report, validate_benchmark
    from eval.validate import to_text as verdict_to_text

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
        print(verdict_to_text(verdict))
    for line in verdict.refused:
        print(line, file=sys.stderr)
    return USAGE_ERROR if verdict.refused else 0


def _doctor(arguments: argparse.Namespace, command: str) -> int:
    """Looks at everything that a run depends on and changes nothing. Exit code 0: nothing is
    wrong; 1: something is, and the last lines say what, and what to do."""
    from eval.doctor import diagnose, healthy, to_report
    from eval.doctor import to_text as diagnosis_to_text

    out = None if arguments.out is None else Path(arguments.out).expanduser().absolute()
    sections = diagnose(benchmark=arguments.benchmark, out=out)
    if arguments.json:
        print(json.dumps(to_report(sections), indent=2))
    else:
        print(diagnosis_to_text(sections))
    return 0 if healthy(sections) else 1


def _answer(
    arguments: argparse.Namespace,
    command: str,
    *,
    tasks: list[str] | None,
    controls: bool = True,
) -> int:
    try:
        question = _question(arguments, command, tasks=tasks, controls=controls)
        if arguments.dry_run:
            dry_run(question)
            return 0
        run = Run(question)
    except ValueError as error:
        raise UsageError(str(error)) from error
    # A ValueError from here on is a defect of ours, and keeps its traceback.
    try:
        return run.execute()
    except BrokenPipeError:
        raise
    except OSError as error:
        _print_error(error)
        print(f"Stopped. {GOES_ON}", file=sys.stderr)
        return 1


def _question(
    arguments: argparse.Namespace, command: str, *, tasks: list[str] | None, controls: bool
) -> Question:
    if not arguments.backbone:
        raise ValueError("no --backbone given; for example --backbone resnet50d_mixup (or --list)")
    chosen = None if tasks is None else [task for task in TASKS if task in tasks]
    question = ask(
        arguments.backbone,
        benchmark=arguments.benchmark,
        seeds=arguments.seeds,
        out=arguments.out,
        command=command,
        tasks=chosen,
        controls=controls,
        tolerate=arguments.tolerate,
        full=arguments.full,
        auto_accumulate=arguments.auto_accumulate,
    )
    untrained = [spec.name for spec in question.specs if spec.kind != "trained"]
    if untrained and not controls:
        raise ValueError(f"nothing to pretrain in {', '.join(untrained)}: give names as in --list")
    return question
