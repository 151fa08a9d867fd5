"""The benchmarks that come with Trickle, by name; each is NAME.toml beside this file."""

from __future__ import annotations

PACKAGED = ("mini", "paper", "coco", "cityscapes")
