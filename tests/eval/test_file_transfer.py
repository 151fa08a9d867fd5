"""Files that go from machine to machine in pieces arrive whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eval import file_transfer
from eval.file_transfer import Incoming, Piece, files_below, pieces, put


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 35])
def test_a_file_arrives_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(file_transfer, "CHUNK_BYTES", 10)
    content = bytes(range(size))
    (tmp_path / "a").write_bytes(content)
    sent = list(pieces(tmp_path / "a", "folder/b"))
    assert max(len(piece.data) for piece in sent) <= 10
    for piece in sent:
        assert not (tmp_path / "there" / "folder" / "b").exists()
        put(piece, tmp_path / "there")
    assert (tmp_path / "there" / "folder" / "b").read_bytes() == content
    assert [path.name for path in (tmp_path / "there" / "folder").iterdir()] == ["b"]


def test_who_replaces_a_file_while_it_is_sent_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_transfer, "CHUNK_BYTES", 4)
    (tmp_path / "a").write_bytes(b"old state")
    sent = pieces(tmp_path / "a", "b")
    put(next(sent), tmp_path / "there")
    (tmp_path / "new").write_bytes(b"another one")
    (tmp_path / "new").replace(tmp_path / "a")
    for piece in sent:
        put(piece, tmp_path / "there")
    assert (tmp_path / "there" / "b").read_bytes() == b"old state"


def test_a_transfer_that_broke_off_is_begun_anew(tmp_path: Path) -> None:
    put(Piece(name="b", data=b"half", first=True, last=False), tmp_path)
    put(Piece(name="b", data=b"who", first=True, last=False), tmp_path)
    put(Piece(name="b", data=b"le", first=False, last=True), tmp_path)
    assert (tmp_path / "b").read_bytes() == b"whole"


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not lie below"):
        put(Piece(name="../b", data=b"", first=True, last=True), tmp_path / "there")


def test_an_artifact_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def piece(name: str, text: str) -> Piece:
        return Piece(name=name, data=text.encode(), first=True, last=True)

    artifact = tmp_path / "artifacts" / "a"
    names = {"artifacts/a/model.safetensors", "artifacts/a/card.json"}
    lost = Incoming(tmp_path, artifact)  # its driver dies
    lost.put(piece("artifacts/a/model.safetensors", "old weights"))
    lost.put(piece("artifacts/a/README.md", "old"))
    lost.kept({*names, "artifacts/a/README.md"})
    assert not artifact.exists()
    incoming = Incoming(tmp_path, artifact)
    incoming.put(piece("artifacts/a/model.safetensors", "weights"))
    incoming.put(piece("work/w/iter_1.safetensors", "state"))
    incoming.kept({"work/w/iter_1.safetensors"})
    assert (tmp_path / "work/w/iter_1.safetensors").read_text() == "state"
    assert not artifact.exists()
    incoming.put(piece("artifacts/a/card.json", "card"))
    incoming.kept({*names, "work/w/iter_1.safetensors"})
    incoming.close()
    assert {file.name: file.read_text() for file in artifact.iterdir()} == {
        "model.safetensors": "weights",
        "card.json": "card",
    }
    assert [path.name for path in artifact.parent.iterdir()] == ["a"]


def test_the_card_of_an_artifact_comes_last_and_what_is_being_written_not_at_all(
    tmp_path: Path,
) -> None:
    names = ("card.json", "model.safetensors", "README.md", ".iter_5.safetensors.tmp-12")
    for age, name in enumerate(names):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1000 + age, 1000 + age))
    found = [path.name for path in files_below(tmp_path)]
    assert found == ["model.safetensors", "README.md", "card.json"]
