"""The libraries that an artifact can be exported to, known without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

TARGETS: tuple[str, ...] = ("torchvision", "timm", "mmdet", "mmseg", "onnx", "huggingface")

Use = Callable[[Path], str]
"""What to type to load an export that lies in this folder; `Path()` for the current one."""


class ExportError(ValueError):
    """An artifact that cannot be exported as asked; the message says what can be done instead."""
