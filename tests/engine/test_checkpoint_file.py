"""A checkpoint comes back bit for bit or not at all: no pickle, no byte changed unnoticed."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.checkpoint_file import DamagedCheckpoint, read_checkpoint, write_checkpoint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "iter_1.safetensors"


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        first, second = (bytes(t.flatten().clone().untyped_storage()) for t in (a, b))
        assert first == second, "bits, NaN and -0 included"
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b or (a != a and b != b)


DTYPES = [
    torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8,
    torch.bool, torch.complex64,
]  # fmt: skip
TENSORS = st.builds(
    lambda dtype, shape, seed: torch.tensor(
        np.random.default_rng(seed).normal(size=shape) * 100
    ).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 3), max_size=4).map(tuple),
    st.integers(0, 9),
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | TENSORS
)  # fmt: skip
KEYS = st.text(max_size=4) | st.integers(-9, 9)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_everything_plain_comes_back(path: Path, content: dict[str, Any]) -> None:
    write_checkpoint(path, content)
    assert_same(read_checkpoint(path), content)


def test_memory_layout_and_ties_come_back(path: Path) -> None:
    image = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    kernel = torch.randn(8, 3, 1, 1).to(memory_format=torch.channels_last)
    state = OrderedDict(a=image, b=image, part=image[:, 1:], wide=torch.ones(1).expand(3))
    state._metadata = OrderedDict([("bn", {"version": 2})])
    content = {"state": state, "kernel": kernel, "milestones": Counter({3: 1})}
    write_checkpoint(path, content)
    read = read_checkpoint(path)
    assert_same(read["state"], content["state"])
    assert read["state"]._metadata == state._metadata
    assert read["state"]["a"].stride() == (75, 1, 15, 3)
    assert read["kernel"].stride() == kernel.stride()
    assert read["milestones"] == Counter({3: 1})


@pytest.mark.parametrize(
    "value",
    [np.zeros(2), {1, 2}, b"x", object(), Path("x"), lambda: 0, np.int64],
    ids=["array", "set", "bytes", "object", "path", "function", "class"],
)
def test_what_is_not_plain_is_refused_and_named(path: Path, value: Any) -> None:
    write_checkpoint(path, {"old": 1})
    with pytest.raises(TypeError, match="optimizer/state/0"):
        write_checkpoint(path, {"optimizer": {"state": [value]}})
    assert read_checkpoint(path) == {"old": 1}


def test_a_key_that_is_not_plain_is_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="a key of x"):
        write_checkpoint(path, {"x": {(1, 2): 3}})


def test_it_is_a_safetensors_file_with_readable_names(path: Path) -> None:
    write_checkpoint(path, {"optimizer": {"state": {0: {"momentum": torch.ones(2)}}}})
    assert safetensors.torch.load_file(path)["optimizer/state/0/momentum"].tolist() == [1, 1]


@pytest.mark.reliability(
    4, "A byte of a checkpoint that changes, anywhere in the file, is refused by its checksum."
)
def test_a_flipped_byte_is_refused(path: Path, measured: Callable[[str], None]) -> None:
    write_checkpoint(
        path,
        {
            "state_dict": {"w": torch.arange(12.0).view(3, 4), "b": torch.ones(2).bfloat16()},
            "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "lr": 0.1},
        },
    )
    data = path.read_bytes()
    refused = 0
    for place in range(len(data)):
        for bit in {1 << place % 8, 0x20}:  # 0x20: upper case for lower, a space for nothing
            damaged = bytearray(data)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            with pytest.raises(DamagedCheckpoint, match=r"iter_1\.safetensors is damaged"):
                read_checkpoint(path)
            refused += 1
    measured(f"{refused} flips at each of {len(data)} bytes, all refused")


@pytest.mark.parametrize("length", [0, 1, 7, 8, 100, -1])
def test_a_file_that_is_cut_off_is_refused(path: Path, length: int) -> None:
    write_checkpoint(path, {"w": torch.ones(4)})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedCheckpoint, match="damaged"):
        read_checkpoint(path)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(path)


def test_a_whole_file_of_another_version_is_not_called_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as later:
        later.setattr("engine.checkpoint_file._FORMAT", "trickle checkpoint 7")
        write_checkpoint(path, {"a": 1})
    with pytest.raises(ValueError, match="another version of Trickle") as error:
        read_checkpoint(path)
    assert not isinstance(error.value, DamagedCheckpoint), "it would be set aside"


def test_scalars_of_numpy_become_pythons(path: Path) -> None:
    write_checkpoint(path, {"lr": np.float64(0.01), np.int64(3): np.bool_(True)})
    assert read_checkpoint(path) == {"lr": 0.01, 3: True}
