"""A table of very many files' facts is the mapping that it was made of."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.array_file import read_arrays, write_arrays
from benchmarks.cache import DamagedEntry
from benchmarks.fact_table import FactTable, FileFacts, grouped_names

facts = st.builds(
    FileFacts,
    size=st.integers(0, 2**50),
    mtime_ns=st.integers(-(2**62), 2**62),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(found=st.dictionaries(names, facts, max_size=20), parts=st.integers(1, 4))
def test_it_is_the_mapping_that_it_was_made_of(found: dict[str, FileFacts], parts: int) -> None:
    items = list(found.items())
    tables = [FactTable.of(dict(items[part::parts])) for part in range(parts)]
    for table in (FactTable.of(found), FactTable.joined(tables)):
        assert dict(pickle.loads(pickle.dumps(table))) == dict(table) == found
        assert list(table) == sorted(found)
        assert table.total_bytes == sum(item.size for item in found.values())
        lines = (f"{name}\t{item.size}\t{item.sha256}\n" for name, item in sorted(found.items()))
        assert table.digest() == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert "\x00" not in FactTable.of(found)


@settings(max_examples=30, deadline=None)
@given(sources=st.lists(st.sets(names, max_size=6), max_size=3))
def test_names_are_grouped_by_who_has_them(sources: list[set[str]]) -> None:
    found = list(grouped_names(*map(sorted, sources)))
    assert [name for name, _ in found] == sorted(set().union(*sources))
    assert all(who == {n for n, s in enumerate(sources) if name in s} for name, who in found)


def test_arrays_come_back_mapped_and_no_byte_changes_unnoticed(cache: Path) -> None:
    table = FactTable.of({"a.jpg": FileFacts(size=3, mtime_ns=-4, sha256="ab" * 32)})
    arrays = {"sizes": table.sizes, "hashes": table.hashes, "none": table.sizes[:0]}
    assert read_arrays("things", "key") is None
    assert write_arrays("things", "key", {"x": ["ü", 1]}, arrays)
    found = read_arrays("things", "key")
    assert found is not None
    assert found.facts == {"x": ["ü", 1]}
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        "sizes": [3],
        "hashes": [[0xAB] * 32],
        "none": [],
    }
    with pytest.raises(ValueError, match="read-only"):
        found.arrays["sizes"][0] = 1
    (file,) = (cache / "things").iterdir()
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DamagedEntry, match=f"{file} is damaged"):
            read_arrays("things", "key")
