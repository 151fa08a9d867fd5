"""What happens to a job on another machine, without the cluster that brings it there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from eval import ray_task
from eval.errand import Errand, OtherSoftware, require_same_software
from eval.file_transfer import Piece, pieces, put
from eval.process import Ended, one_line
from eval.ray_executor import memory_by_kind
from eval.ray_task import Began, Kept, Message, Sent, do, from_text, to_text
from eval.records import Record

STAGE = """
import pathlib, sys, time
artifact, work, result = map(pathlib.Path, sys.argv[1:4])
before = sorted(path.name for path in work.iterdir())
(work / "iter_7.safetensors").write_text("state")
(work / "iter_3.safetensors").unlink(missing_ok=True)
time.sleep(float(sys.argv[4]))
artifact.mkdir()
(artifact / "card.json").write_text("card")
result.write_text(f"{sys.argv[5:]} {before}")
print("error: said", file=sys.stderr)
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's own cache folder."""
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr(ray_task, "PULL_SECONDS", 0.2)
    return tmp_path / "node"


def sent(
    out: Path, *, seconds: float, own: tuple[tuple[Piece, ...], ...] | None = (), **changes: object
) -> Sent:
    arguments = [out / "artifacts" / "a", out / "work" / "w", out / "work" / "w" / "result.json"]
    errand = Errand(
        job="job",
        arguments=("-c", STAGE, *map(str, arguments), str(seconds), "/no/such/bench.toml"),
        log=out / "logs" / "job.log",
        lock=out / "locks" / "job.process.lock",
        cores=1.0,
        environment={},
        software={},
    )
    content: dict[str, object] = {
        "errand": errand,
        "out": out,
        "token": None,
        "folders": (out / "work" / "w", out / "artifacts" / "a"),
        "own": own,
        "outside": ((Path("/no/such/bench.toml"), "inputs/0/bench.toml"),),
        "checked": frozenset({"n"}),
    }
    return Sent(**{**content, **changes})  # type: ignore[arg-type]


def names(messages: list[Message]) -> list[str]:
    return [message.name for message in messages if isinstance(message, Piece)]


def test_a_node_without_the_folder_sends_back_what_the_job_writes(
    tmp_path: Path, node: Path
) -> None:
    out = tmp_path / "out"
    messages = list(do(sent(out, seconds=0), node="n", get=lambda piece: piece))
    assert isinstance(messages[0], Began)
    assert not messages[0].shared
    ended = messages[-1]
    assert isinstance(ended, Ended)
    assert ended.returncode == 0
    for message in messages:
        if isinstance(message, Piece):
            put(message, out)
    assert (out / "artifacts" / "a" / "card.json").read_text() == "card"
    assert (out / "work" / "w" / "iter_7.safetensors").read_text() == "state"
    assert (out / "logs" / "job.log").read_text() == "error: said\n"
    # A file from outside of OUT is where it was put, and so named.
    assert (out / "work" / "w" / "result.json").read_text().startswith(f"['{node}/away/")
    assert list((node / "away").glob("*/*")) == []


def test_checkpoints_come_back_while_it_runs_and_another_node_gets_them(
    tmp_path: Path, node: Path
) -> None:
    out = tmp_path / "out"
    running = do(sent(out, seconds=60), node="n", get=lambda piece: piece)
    messages: list[Message] = []
    for message in running:
        messages.append(message)
        if isinstance(message, Kept) and "work/w/iter_7.safetensors" in names(messages):
            break
    running.close()  # as when its node is lost
    assert not any(isinstance(message, Ended) for message in messages)
    for message in messages:
        if isinstance(message, Piece):
            put(message, out)
    checkpoint = out / "work" / "w" / "iter_7.safetensors"
    moved = ((*pieces(checkpoint, "work/w/iter_7.safetensors"),),)
    again = list(do(sent(out, seconds=0, own=moved), node="m", get=lambda piece: piece))
    for message in again:
        if isinstance(message, Piece):
            put(message, out)
    assert (out / "work" / "w" / "result.json").read_text().endswith("['iter_7.safetensors']")


def test_a_checkpoint_that_the_job_removed_is_not_among_those_kept(
    tmp_path: Path, node: Path
) -> None:
    out = tmp_path / "out"
    old = (Piece(name="work/w/iter_3.safetensors", data=b"old", first=True, last=True),)
    messages = list(do(sent(out, seconds=0, own=(old,)), node="n", get=lambda piece: piece))
    kept = [message.names for message in messages if isinstance(message, Kept)][-1]
    assert "work/w/iter_7.safetensors" in kept
    assert "work/w/iter_3.safetensors" not in kept


def test_a_node_that_came_late_and_does_not_see_the_folder_says_what_to_do(
    tmp_path: Path, node: Path
) -> None:
    with pytest.raises(OSError, match="--storage pull"):
        list(do(sent(tmp_path / "out", seconds=0, own=None), node="n", get=iter))


def test_a_node_that_came_late_with_other_software_is_named(tmp_path: Path, node: Path) -> None:
    with pytest.raises(OtherSoftware, match=r"torch: .* there, 1\.0 with the driver"):
        require_same_software({"torch": "1.0"})


def test_a_node_with_the_folder_works_in_it(tmp_path: Path, node: Path) -> None:
    out = tmp_path / "out"
    (out / "work" / "w").mkdir(parents=True)
    (out / "artifacts").mkdir()
    token = out / "token"
    token.write_text("secret")
    messages = list(do(sent(out, seconds=0, token=(token, "secret")), node="n", get=iter))
    assert [type(message) for message in messages] == [Began, Ended]
    assert (out / "artifacts" / "a" / "card.json").exists()
    other = sent(out, seconds=0, own=None, token=(token, "of another folder"))
    with pytest.raises(OSError, match="does not see"):
        list(do(other, node="n", get=iter))


READ = "import sys, pathlib; print(pathlib.Path(sys.argv[1].partition('@')[2]).read_text())"


@pytest.mark.parametrize("shared", [True, False])
def test_a_job_reads_what_was_sent_and_not_what_lies_there_on_the_node(
    tmp_path: Path, node: Path, shared: bool
) -> None:
    file, token = tmp_path / "w.pth", tmp_path / "out" / "token"
    file.write_text("the driver's")
    inputs = (tuple(pieces(file, "inputs/0/w.pth")),)
    file.write_text("the node's, an old one")
    token.parent.mkdir()
    token.write_text("secret")
    job = sent(tmp_path / "out", seconds=0, inputs=inputs, outside=((file, "inputs/0/w.pth"),))
    job = replace(
        job,
        errand=replace(job.errand, arguments=("-c", READ, f"resnet50d@{file}")),
        token=(token, "secret") if shared else None,
    )
    for message in do(job, node="n", get=lambda piece: piece):
        if isinstance(message, Piece):
            put(message, tmp_path / "back")
    log = (tmp_path / ("out" if shared else "back")) / "logs" / "job.log"
    assert log.read_text() == "the driver's\n"
    assert list((node / "away").glob("*/*")) == []


def test_a_folder_that_only_a_recipe_names_has_to_be_the_same_on_the_node(
    tmp_path: Path, node: Path
) -> None:
    folder = tmp_path / "start"
    folder.mkdir()
    (folder / "card.json").write_text("the driver's")
    job = sent(
        tmp_path / "out",
        seconds=0,
        inputs=(tuple(pieces(folder / "card.json", "inputs/0/start/card.json")),),
        outside=((folder, "inputs/0/start"),),
    )
    assert isinstance(list(do(job, node="n", get=lambda piece: piece))[-1], Ended)
    (folder / "card.json").write_text("the node's")
    with pytest.raises(OSError, match=r"node .*start/card\.json"):
        list(do(job, node="n", get=lambda piece: piece))


def test_an_errand_is_sent_as_plain_text(tmp_path: Path) -> None:
    job = sent(tmp_path, seconds=0, token=(tmp_path / "t", "x"), own=None)
    assert from_text(to_text(job)) == job


def test_what_a_job_needed_counts_for_its_whole_architecture(
    make_record: Callable[..., Record],
) -> None:
    cost = {"peak_memory_mb": 800.0}
    records = [
        make_record("inception_v3_smooth", control="scratch:inception_v3", cost=cost),
        make_record("scratch:timm:regnetx_002", control=None, task="segmentation", cost=cost),
        make_record("timm:x~mixup", "finetune", control="scratch:timm:x~mixup", cost=cost),
    ]
    nodes = [{"Resources": {"memory": 2**40}}]
    needed = 1000 * 2**20  # a quarter more
    assert memory_by_kind(records, nodes) == {
        ("detection", "inception_v3"): needed,
        ("segmentation", "timm:regnetx_002"): needed,
        ("finetune", "timm:x"): needed,
    }


def test_a_failure_elsewhere_names_the_machine() -> None:
    tail = ("step 1", "error: no images below /data/voc", "put them there")
    ended = Ended(returncode=2, seconds=1.0, tail=tail, host="node-7")
    assert one_line(ended.message) == "no images below /data/voc (on node-7)"
    assert "put them there" in ended.message
