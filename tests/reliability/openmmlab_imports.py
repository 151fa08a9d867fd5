"""What detection and segmentation import besides, as `stage_imports`."""

from engine.finetuning import prepare_openmmlab

prepare_openmmlab()

import mmdet.registry  # noqa: E402
import mmseg.registry  # noqa: E402

import detection.data  # noqa: E402
import detection.finetune  # noqa: E402
import detection.metric  # noqa: E402
import detection.model  # noqa: E402
import segmentation.data  # noqa: E402
import segmentation.finetune  # noqa: E402
import segmentation.metric  # noqa: E402
import segmentation.model  # noqa: E402
from engine.scopes import prefix_types  # noqa: E402

for package in (mmdet, mmseg):
    prefix_types({}, package.__name__)  # imports it whole

__all__ = ["detection", "segmentation"]
