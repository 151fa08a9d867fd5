"""What the command line takes: verbs, flags, and what each says about itself."""

from __future__ import annotations

import argparse

from benchmarks.official.releases import RELEASES
from benchmarks.packaged import PACKAGED
from engine.tracking import DEFAULT_TRACKERS, TRACKERS
from eval.export.targets import TARGETS
from eval.jobs import TASKS

ABLATIONS = ("stack", "leave-one-out", "one-at-a-time", "shapley")
"""The modes of `eval.ablation`, which loads more than `--help` may."""
DATASETS = tuple(RELEASES)

_BENCHMARKS = f"{', '.join(PACKAGED)} or a TOML file"
_ARCHIVES = "; ".join(
    f"{dataset}: {', '.join(archive.name for archive in release.archives)}"
    for dataset, release in RELEASES.items()
)
_SPEC_HELP = (
    "resnet50d_mixup, resnet50d_mixup-warmup, scratch:resnet50d, resnet50d@FILE, "
    "timm:<model>[@FILE], torchvision:<model>[@NAME or FILE], hf:<org>/<name>[@revision] (a timm "
    "model of the Hugging Face hub), a path to an artifact, or a quoted wildcard like 'resnet50d_*'"
    "; any of them fine-tuned on your own images with a recipe: SPEC~finetune"
)
_RUN = (
    "Pretrains backbones, fine-tunes a detector and a segmentor on each and on its control "
    "from random weights (a classifier of one's own images, SPEC~RECIPE, beside SPEC~plain), "
    "and tabulates what comes of it. What is done already is not done "
    "again; several runs may share one --out. Exit code 0: all done; 1: some job failed, or "
    "the run had to stop; 2: wrong usage; 130, 143: ended by Ctrl-C, SIGTERM."
)
_PRETRAIN = (
    "Pretrains backbones and exports them as artifacts; a teacher that is needed comes first."
)
_SHOW = (
    "Every number that the pretraining of a backbone will use, or of SPEC~RECIPE its fine-tuning, "
    "and which trick set it; first as the recipe says it, then as the benchmark scales it."
)
_REPORT = (
    "Writes the tables of everything that is recorded in one directory, or in those of several "
    "people together, which stay as they are. What cannot stand in one table is left out and named."
)
_VALIDATE = (
    "Reads every file of a benchmark's data once: decodes it, checks annotations, counts "
    "classes, looks for test images among the training images, and keeps what every file was "
    "for later runs. Exit code 0: the data can be used; 2: it cannot, and the last lines say "
    "which files."
)
_PREPARE = (
    "Makes a published data set ready for the benchmark `paper`: unpacks its archives, checked and "
    "counted, or links to where it lies unpacked already. Nothing that is there is changed. A call "
    "that ends early is gone on with by the next. Exit code 0: the data set is whole; 2: it is "
    "not, and the last lines say what to do."
)
_DOCTOR = (
    "Looks at everything that a run depends on and changes nothing. Exit code 0: nothing is "
    "wrong; 1: something is, and the last lines say what, and what to do."
)
_FINETUNE = (
    "Makes the best classifier it can of a folder of labelled images: sets test images aside where "
    "there are none, picks a backbone by what simple classifiers make of its features, fine-tunes "
    "it, reports, and exports the classifier to OUT/classifier. What it decides is written to "
    "OUT/benchmark.toml and OUT/images.csv, to be read and edited; the same command goes on where "
    "it was. Exit codes as those of run."
)
_EXPORT = (
    "Writes an artifact's weights as another library loads them, strictly and without Trickle, to "
    "a new folder, and says what to type. The library's own network is made and has to compute the "
    "same; where there is none, the answer says which targets have one. For mmdet and mmseg there "
    "is a configuration for their tools/train.py, too; of a network that they do not have it takes "
    "a TrickleBackbone, for which Trickle has to be installed there, as the answer then says."
)


def make_parser() -> argparse.ArgumentParser:
    """The parser of `trickle`."""
    parser = argparse.ArgumentParser(
        prog="trickle",
        description="Which ImageNet training tricks trickle down to detection and segmentation?",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    run = verbs.add_parser(
        "run",
        help="pretrain, fine-tune, tabulate",
        usage="trickle run --backbone SPEC [SPEC ...] [options]",
        description=_RUN,
        allow_abbrev=False,
    )
    _add_transfer_flags(run)
    pretrain = verbs.add_parser(
        "pretrain",
        help="pretrain backbones, nothing more",
        description=_PRETRAIN,
        allow_abbrev=False,
    )
    _add_common_flags(pretrain)
    listing = verbs.add_parser("list", help="every name that a command takes", allow_abbrev=False)
    listing.add_argument("--tricks", action="store_true", help="the tricks: knobs, source, effect")
    listing.add_argument("--json", action="store_true", help="as JSON")
    _add_recipes_flag(listing)
    shown = verbs.add_parser(
        "show",
        help="every number of a pretraining, and which trick set it",
        description=_SHOW,
        allow_abbrev=False,
    )
    shown.add_argument(
        "backbone", metavar="BACKBONE", help="for example resnet50d_mixup, or ~finetune"
    )
    shown.add_argument("--benchmark", default="mini", metavar="NAME|FILE", help=_BENCHMARKS)
    shown.add_argument("--json", action="store_true", help="as JSON")
    _add_recipes_flag(shown)
    tables = verbs.add_parser(
        "report",
        help="write the tables again from the records",
        description=_REPORT,
        allow_abbrev=False,
    )
    tables.add_argument(
        "directories",
        nargs="*",
        metavar="DIR",
        help="the --out of earlier runs, of one or several people; default: that of the report",
    )
    tables.add_argument(
        "--out",
        metavar="DIR",
        help="where to write; default: the one DIR, or else runs/<benchmark>, or runs/mini",
    )
    tables.add_argument("--benchmark", metavar="NAME", help="where a DIR holds several")
    tables.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="DIGEST",
        help="take the records of this protocol, as an earlier report names it, not the newest",
    )
    _add_baseline_flag(tables)
    validation = verbs.add_parser(
        "validate",
        help="read every file of a benchmark's data once",
        description=_VALIDATE,
        allow_abbrev=False,
    )
    validation.add_argument("benchmark", metavar="NAME|FILE", help=_BENCHMARKS)
    _add_data_flags(validation)
    validation.add_argument(
        "--workers", type=_positive, metavar="N", help="processes; default: one for each core"
    )
    validation.add_argument("--json", action="store_true", help="as JSON")
    preparation = verbs.add_parser(
        "prepare",
        help="make ImageNet, Pascal VOC or ADE20K ready, from the official archives",
        description=_PREPARE,
        allow_abbrev=False,
    )
    preparation.add_argument("dataset", choices=DATASETS, help="which data set")
    preparation.add_argument(
        "--from",
        dest="source",
        required=True,
        metavar="DIR",
        help=f"where the archives lie as they were downloaded ({_ARCHIVES}), or the data set "
        "unpacked, ImageNet also as Kaggle's competition unpacks",
    )
    preparation.add_argument(
        "--to",
        dest="target",
        required=True,
        metavar="DIR",
        help="where the data set goes, under its usual name: TRICKLE_DATA of later runs",
    )
    doctor = verbs.add_parser(
        "doctor",
        help="versions, devices, data and folders, and what is wrong with them",
        description=_DOCTOR,
        allow_abbrev=False,
    )
    doctor.add_argument(
        "--benchmark", metavar="NAME|FILE", help="whose data has to be there; default: mini"
    )
    doctor.add_argument("--out", metavar="DIR", help="look into the OUT of a run, too")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    tuning = verbs.add_parser(
        "finetune",
        help="a classifier of your own images, from a folder of them",
        usage="trickle finetune FOLDER|FILE.csv [options]",
        description=_FINETUNE,
        allow_abbrev=False,
    )
    _add_finetune_flags(tuning)
    exporting = verbs.add_parser(
        "export",
        help="an artifact's weights as torchvision, timm and others load them",
        description=_EXPORT,
        allow_abbrev=False,
    )
    exporting.add_argument("artifact", metavar="ARTIFACT", help="the directory of an artifact")
    exporting.add_argument("--to", required=True, choices=TARGETS, help="the library")
    exporting.add_argument(
        "--out", metavar="PATH", help="a new folder; default: <artifact's name>-<target>, here"
    )
    return parser


def make_transfer_parser() -> argparse.ArgumentParser:
    """The parser of `python eval/run_transfer.py`: that of the verb `run`."""
    parser = argparse.ArgumentParser(
        prog="run_transfer.py",
        usage="run_transfer.py --backbone SPEC [SPEC ...] [options]",
        description=_RUN,
        allow_abbrev=False,
    )
    _add_transfer_flags(parser)
    parser.set_defaults(verb="run")
    return parser


def _add_common_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--backbone", nargs="+", metavar="SPEC", help=_SPEC_HELP)
    add(
        "--ablate",
        nargs="+",
        metavar="SPEC",
        help="in place of --backbone: what each trick of resnet50d_mixup_distill is worth",
    )
    add(
        "--ablation",
        choices=ABLATIONS,
        help="which of its recipes; default: stack, one trick more in each row",
    )
    add(
        "--permutations",
        type=_positive,
        metavar="N",
        help="with --ablation shapley: how many orders are drawn; default: 3",
    )
    add("--benchmark", default="mini", metavar="NAME|FILE", help=_BENCHMARKS)
    _add_run_flags(parser)
    _add_data_flags(parser)
    _add_recipes_flag(parser)


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seeds", nargs="+", type=_seed, default=[0], metavar="N", help="default: 0")
    add("--out", metavar="DIR", help="default: runs/<benchmark>, of a folder runs/<its name>")
    add(
        "--dry-run",
        action="store_true",
        help="say which jobs there are and how long they may take, and do none",
    )
    add(
        "--auto-accumulate",
        action="store_true",
        help="compute a batch that does not fit into memory in parts",
    )
    add(
        "--track",
        nargs="+",
        choices=TRACKERS,
        default=list(DEFAULT_TRACKERS),
        help="who is told how each training goes; default: tensorboard",
    )


def _add_transfer_flags(parser: argparse.ArgumentParser) -> None:
    _add_common_flags(parser)
    add = parser.add_argument
    add("--tasks", nargs="+", choices=TASKS, help="default: those of them it has data for")
    _add_baseline_flag(parser)
    _add_executor_flags(parser)
    add("--list", action="store_true", help="every name that --backbone and --benchmark take")
    add("--json", action="store_true", help="with --list: as JSON")


def _add_finetune_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "data",
        metavar="FOLDER|FILE.csv",
        help="train/<class>/*.jpg and val/ or test/ likewise, or <class>/*.jpg, or a CSV file with "
        "the columns path, label and where wanted split (train or test) and group",
    )
    add("--unlabelled", metavar="DIR", help="images without labels, searched recursively")
    add(
        "--backbone",
        nargs="+",
        metavar="SPEC",
        help="which to choose among, as for trickle run; default: artifacts in runs/*/artifacts, "
        "else small models of timm",
    )
    add(
        "--recipe",
        nargs="+",
        metavar="RECIPE",
        help="what follows the ~, such as finetune, gradual or finetune-label_smoothing: a row "
        "each, compared with the first; default: linear finetune, and with --unlabelled "
        "finetune+pseudo_labels",
    )
    _add_run_flags(parser)
    add(
        "--folds",
        type=_folds,
        metavar="K",
        help="K trainings, each validated on another part; default: one, validated on a fifth",
    )
    add("--image-size", type=_positive, metavar="N", help="in pixels; default: by the images")
    _add_data_flags(parser)
    _add_recipes_flag(parser)
    _add_executor_flags(parser)


def _add_executor_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--executor",
        choices=("local", "ray", "slurm"),
        default="local",
        help="where the jobs run: on this machine, on a Ray cluster, or as jobs of Slurm",
    )
    add(
        "--ray-address",
        metavar="HOST:PORT",
        help="the cluster: auto, none (this machine alone) or HOST:PORT; default: auto, else none",
    )
    add(
        "--storage",
        choices=("auto", "pull"),
        default="auto",
        help="with --executor ray: pull sends each job what it reads and fetches what it writes; "
        "default: so where some node does not see --out",
    )
    add("--slurm-partition", metavar="NAME", help="default: that of the cluster")
    add(
        "--slurm-time",
        type=_positive,
        metavar="MINUTES",
        help="time limit of a job, which goes on from its last checkpoint in another; default: "
        "a day",
    )
    add("--slurm-gpus", type=_gpus, metavar="N", help="of each job; default: 1")
    add("--slurm-cpus", type=_positive, metavar="N", help="of each job; default: 4")
    add(
        "--slurm-set",
        action="append",
        type=_setting,
        default=[],
        metavar="NAME=VALUE",
        help="another option of sbatch, such as account=vision",
    )


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


def _add_baseline_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baseline",
        metavar="SPEC",
        help="the row that all others are compared with; default: the control of each, SPEC~plain "
        "of SPEC~RECIPE",
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


def _gpus(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of GPUs, 0 or more, not {text!r}")
    return int(text)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, such as account=vision: {text!r}")
    return name.lstrip("-"), value


def _folds(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"expected a number of folds, 2 or more, not {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number, 1 or more, not {text!r}")
    return int(text)
