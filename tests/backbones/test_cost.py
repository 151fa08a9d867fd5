from __future__ import annotations

import pytest
from torch import nn

from backbones.cost import count_gmacs, count_parameters


def test_one_convolution_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)).train()
    assert count_parameters(model) == 8 * 3 * 9 + 8 + 16
    # 16 x 24 outputs of 8 channels, each 3 x 3 x 3 multiply-adds.
    assert count_gmacs(model, (32, 48)) == pytest.approx(16 * 24 * 8 * 27 / 1e9)
    assert model.training
    assert model[1].num_batches_tracked == 0


def test_groups_cost_their_share() -> None:
    depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)
    assert count_gmacs(depthwise, 10) == pytest.approx(10 * 10 * 3 * 9 / 1e9)
