"""Silence for OpenMMLab's known deprecation notices, each by name; other warnings stay."""

from __future__ import annotations

import logging
import warnings
from typing import Any

_WARNINGS = (
    r"pkg_resources is deprecated as an API",
    r"`reduce_zero_label` will be deprecated",
    r"``build_loss`` would be deprecated soon",
    r"Default ``avg_non_ignore`` is False",
    r"``MultiScaleDeformableAttention`` has been moved",
    r"The shape of value will convert from",
)
_LOG_MESSAGES = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias')


def quiet_openmmlab() -> None:
    """Drop the notices that a user of mmdet and mmseg can do nothing about.

    They are pkg_resources, reduce_zero_label, build_loss, avg_non_ignore,
    MultiScaleDeformableAttention and SegTTAModel's shape of a mask (warnings), FileClient with its
    HardDiskBackend (log lines).
    Call it before `mmdet` or `mmseg` is imported, in every process; idempotent.
    """
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message=message)

    from mmengine.fileio import file_client
    from mmengine.logging import print_log

    def print_other_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        if not str(msg).startswith(_LOG_MESSAGES):
            print_log(msg, logger, level)

    # A logging.Filter would have to be put on every MMLogger, and each Runner makes one.
    file_client.print_log = print_other_log
