"""Maps of other strides: by hand, and by a function whose value at every pixel is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from backbones.resampling import resample


def ramp(stride: int, rows: int, columns: int) -> Tensor:
    """Channel 0 is the pixel row of each cell's centre, channel 1 its column."""
    y = (torch.arange(rows, dtype=torch.float64) + 0.5) * stride
    x = (torch.arange(columns, dtype=torch.float64) + 0.5) * stride
    return torch.stack(torch.meshgrid(y, x, indexing="ij"))[None]


@given(
    stride=st.sampled_from([7, 8, 14, 16, 32, 64]),
    target=st.sampled_from([4, 8, 16, 32]),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
)
@settings(max_examples=30, deadline=None)
def test_cells_stay_where_they_are(stride: int, target: int, height: int, width: int) -> None:
    """Interpolation of a linear function is exact, but where it has to go beyond the last cells;
    the maximum of a rising function is that of the last cell in the window."""
    source = ramp(stride, -(-height // stride), -(-width // stride))
    cells = (-(-height // target), -(-width // target))
    result = resample(source, stride=stride, target=target, cells=cells)
    assert result.shape == (1, 2, *cells)
    window = max(1, target // stride)
    shift = (window - 1) * stride / 2
    expected = ramp(target, *cells)
    for channel, (side, dimension) in enumerate(((height, 0), (width, 1))):
        # Inside: between the centres of the first and the last window.
        first = window * stride / 2
        whole = (side // stride) // window * window * stride
        last = whole - window * stride / 2
        axis = expected[0, channel].select(1 - dimension, 0)
        inside = (axis >= first) & (axis <= last)
        got = result[0, channel].select(1 - dimension, 0)
        torch.testing.assert_close(got[inside], axis[inside] + shift)


def test_the_simple_feature_pyramid_of_a_map_at_stride_16() -> None:
    """Li et al. 2022 without its convolutions: x4, x2, itself, 2x2 maximum."""
    x = torch.randn(2, 3, 6, 4)
    assert resample(x, stride=16, target=16, cells=(6, 4)) is x
    for target, scale in ((4, 4), (8, 2)):
        expected = interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        got = resample(x, stride=16, target=target, cells=(6 * scale, 4 * scale))
        torch.testing.assert_close(got, expected)
    coarse = resample(x, stride=16, target=32, cells=(3, 2))
    assert torch.equal(coarse, max_pool2d(x, 2))


def test_an_odd_number_of_cells_is_pooled_to_the_border() -> None:
    x = torch.arange(3.0).reshape(1, 1, 1, 3)
    assert resample(x, stride=16, target=32, cells=(1, 2)).flatten().tolist() == [1.0, 2.0]


def test_surplus_cells_of_a_padded_image_are_left_out() -> None:
    x = torch.randn(1, 2, 7, 7)
    assert torch.equal(resample(x, stride=32, target=32, cells=(2, 3)), x[..., :2, :3])


def test_too_few_cells_are_an_error() -> None:
    with pytest.raises(AssertionError, match="3 rows"):
        resample(torch.zeros(1, 1, 2, 2), stride=16, target=16, cells=(3, 2))
