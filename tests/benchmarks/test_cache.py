"""What the cache keeps comes back as it was written, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.cache import DamagedEntry, read_cached, read_kept, write_cached

VALUE = {"digest": "0f" * 32, "warnings": ["a warning"], "left_out": {}, "read_on": None, "n": 7}


def test_what_was_written_is_read(cache: Path) -> None:
    assert read_cached("checks", "key") is None
    assert write_cached("checks", "key", VALUE)
    assert read_cached("checks", "key") == VALUE
    assert read_cached("checks", "other") is None
    assert read_cached("seals", "key") is None


@pytest.mark.reliability(4, "A flipped byte in what is known of checked data is never believed")
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_believed(cache: Path, at: int, bit: int) -> None:
    write_cached("checks", "key", VALUE)
    (file,) = (cache / "checks").iterdir()
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= 1 << bit
    file.write_bytes(data)
    assert read_cached("checks", "key") in (None, VALUE)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"[" * 10**5, b"\xff"])
def test_what_is_no_entry_counts_as_none(cache: Path, content: bytes) -> None:
    write_cached("checks", "key", VALUE)
    (file,) = (cache / "checks").iterdir()
    file.write_bytes(content)
    assert read_cached("checks", "key") is None
    with pytest.raises(DamagedEntry, match=f"{file} is damaged"):
        read_kept("checks", "key")


def test_what_cannot_be_read_is_not_taken_for_nothing(cache: Path) -> None:
    write_cached("checks", "key", VALUE)
    (file,) = (cache / "checks").iterdir()
    file.unlink()
    assert read_kept("checks", "key") is None
    file.mkdir()
    with pytest.raises(DamagedEntry, match=f"{file} cannot be read: Is a directory"):
        read_kept("checks", "key")
    assert read_cached("checks", "key") is None


@pytest.mark.parametrize("where", ["", "checks"])
def test_a_cache_that_cannot_be_written_says_so(cache: Path, where: str) -> None:
    cache.parent.mkdir(exist_ok=True)
    if where:
        cache.mkdir()
    (cache / where).write_text("a file")
    assert not write_cached("checks", "key", VALUE)
    assert read_kept("checks", "key") is None
