"""Importing this puts mmcv's operators on torchvision's kernels; see `mmcv_ops`.

For configurations of OpenMMLab, whose `custom_imports` can only import:

    custom_imports = dict(imports=["engine.mmcv_lite"])

Where a compiled mmcv is there, nothing changes.
"""

from __future__ import annotations

from engine.mmcv_ops import install

install()
