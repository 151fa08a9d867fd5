"""The libraries that an artifact can be exported to, known without torch."""

from __future__ import annotations

TARGETS: tuple[str, ...] = ("torchvision", "timm", "mmdet", "mmseg", "onnx", "huggingface")


class ExportError(ValueError):
    """An artifact that cannot be exported as asked; the message says what can be done instead."""
