"""Where a benchmark file says its data is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.roots import resolve_root

HERE = Path("/where/the/file/is")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/imagenet", "/data/imagenet"),
        ("imagenet", "/where/the/file/is/imagenet"),
        ("$SET/imagenet", "/mnt/imagenet"),
        ("${SET}/imagenet", "/mnt/imagenet"),
        ("${SET:-other}/imagenet", "/mnt/imagenet"),
        ("${UNSET:-/other}/imagenet", "/other/imagenet"),
        ("${UNSET:-other}/imagenet", "/where/the/file/is/other/imagenet"),
        ("${EMPTY:-/other}/imagenet", "/other/imagenet"),
        ("~/imagenet", "/home/someone/imagenet"),
        ("${UNSET:-~/data}/imagenet", "/home/someone/data/imagenet"),
    ],
)
def test_variables_home_and_relative_paths(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET", "/mnt")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    assert resolve_root(text, HERE) == Path(expected)


def test_without_a_folder_a_relative_path_stays_relative() -> None:
    assert resolve_root("imagenet", None) == Path("imagenet")


def test_an_unset_variable_without_default_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    with pytest.raises(ValueError, match=r"UNSET is not set.*\$\{UNSET:-path\}"):
        resolve_root("$UNSET/imagenet", HERE)
