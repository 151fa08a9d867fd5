"""Known notices of OpenMMLab are dropped, everything else still reaches the user."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.quiet import quiet_openmmlab

ROOT = Path(__file__).parents[2]

# Everything that announces a deprecation in mmengine 0.10.7, mmdet 3.3.0 and mmseg 1.2.2 on the
# way to a model and its data.
SCRIPT = """
from engine.quiet import quiet_openmmlab
quiet_openmmlab()
from engine.mmcv_ops import install
install()
from engine.scopes import prefix_types

from pathlib import Path
from mmengine.config import Config
from mmengine.fileio import FileClient
from mmengine.registry import MODELS, DefaultScope
from mmengine.utils import get_installed_path
import mmdet.utils, mmseg.utils

for package, utilities, file in (
    ("mmdet", mmdet.utils, "faster-rcnn_r50_fpn.py"),
    ("mmseg", mmseg.utils, "fcn_r50-d8.py"),
):
    root = Path(get_installed_path(package))  # imports pkg_resources
    model = Config.fromfile(root / ".mim/configs/_base_/models" / file).model
    model.backbone.init_cfg = None
    model.pop("pretrained", None)
    utilities.register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope(package):
        MODELS.build(prefix_types(model, package))

from mmseg.datasets.transforms import LoadAnnotations
LoadAnnotations(reduce_zero_label=True)
FileClient("disk")
"""


@pytest.mark.slow
def test_building_both_models_prints_nothing() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "default::ImportWarning", "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.fixture
def caught(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[warnings.WarningMessage]]:
    """The warnings that come through `quiet_openmmlab`, which is undone after the test."""
    from mmengine.fileio import file_client

    monkeypatch.setattr(file_client, "print_log", file_client.print_log)
    with warnings.catch_warnings(record=True, action="always") as messages:
        quiet_openmmlab()
        yield messages


def test_other_warnings_of_the_same_packages_stay(caught: list[warnings.WarningMessage]) -> None:
    others = ["``build_head`` would be deprecated soon", "the learning rate is 0: see build_loss"]
    for message in ["``build_loss`` would be deprecated soon, please use ...", *others]:
        warnings.warn(message, UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == others


@pytest.mark.usefixtures("caught")
def test_other_log_lines_of_the_same_module_stay() -> None:
    from mmengine.fileio import file_client
    from mmengine.logging import MMLogger

    lines: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = MMLogger.get_current_instance()
    recorder = Recorder()
    logger.addHandler(recorder)
    try:
        file_client.FileClient("disk")
        file_client.print_log("the disk is full", logger="current", level=logging.WARNING)
    finally:
        logger.removeHandler(recorder)
    assert lines == ["the disk is full"]
