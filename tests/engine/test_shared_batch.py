"""What 2 and 4 processes compute of a batch that they share is what torch computes of the whole."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d, DropPath
from torch import Tensor, nn

from backbones import provenance
from engine import agreement
from engine.distributed import parallel
from engine.processes import rank
from engine.shared_batch import alone, largest, mean_count, share, whole

IMAGES = 8
PROCESSES = (2, 4)


def network() -> nn.Module:
    """Batch norms and draws of every kind."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        DropPath(0.3),
        nn.Conv2d(6, 5, 3),
        BatchNormAct2d(5, momentum=None),
        nn.Dropout2d(0.4),
        nn.Flatten(),
        nn.Linear(5 * 16, 7),
        nn.BatchNorm1d(7, affine=False),
        nn.Dropout(0.2),
        nn.Linear(7, 3),
    )


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = 3 + 5 * torch.randn(IMAGES, 3, 8, 8, generator=generator)
    return images, torch.randint(3, (IMAGES,), generator=generator)


def step(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Any]:
    """Of two steps, their gradients added up."""
    found: dict[str, Any] = {"losses": []}
    images = images.clone().requires_grad_()
    for number in range(2):
        torch.manual_seed(number)
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        found["losses"].append(loss.item())
    named = model.module if hasattr(model, "module") else model
    found["gradients"] = {name: p.grad for name, p in named.named_parameters()}
    found["images"] = images.grad
    found["statistics"] = dict(named.named_buffers())
    found["evaluated"] = named.eval()(images).detach()
    return deepcopy(found)


def in_a_process(number: int, processes: int, port: int, folder: Path) -> None:
    os.environ.update(
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(processes),
        LOCAL_WORLD_SIZE=str(processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    torch.set_num_threads(1)
    from engine.processes import stay_on_this_machine

    stay_on_this_machine()
    torch.distributed.init_process_group("gloo")
    images, labels = batch()
    images, labels = images[rank() :: processes], labels[rank() :: processes]
    model = parallel(network(), batch_norm="global")
    found = step(model, images, labels)
    found["whole"] = whole(labels.to(torch.uint8))
    found["back"] = share(whole(images)).equal(images)
    found["largest"] = largest([number, 10 - number])
    found["mean"] = mean_count(float(number), torch.device("cpu"))
    found["told"] = list(disagreements(number))
    with alone():
        found["alone"] = (whole(labels).equal(labels), largest([number]))
        found["alone_losses"] = step(model.module.train(), images, labels)["losses"]
    torch.save(found, folder / f"{processes}-{number}.pt")
    torch.distributed.destroy_process_group()


def disagreements(number: int) -> Iterator[str]:
    """What all are told where the last but one, process 1, is not as the others."""
    other = number == 1

    def read() -> str:
        if other:
            raise FileNotFoundError("no data at /data/voc: mount it")
        return "there"

    def mistaken() -> None:
        raise ValueError("no such benchmark")

    yield from (
        told(lambda: agreement.all_or_none(read)),
        told(lambda: agreement.all_or_none(mistaken)),
        told(lambda: agreement.all_or_none(lambda: number)),
        told(lambda: agreement.require_same("benchmark", {"a": {"b": int(other)}}, "copy it")),
        told(lambda: agreement.require_same("benchmark", {"a": {"b": 1}}, "copy it")),
        told(agreement.require_same_software),
    )
    version, digest = provenance.version, agreement.sources_digest
    if other:
        provenance.version = lambda package: "2.0" if package == "torch" else version(package)
    yield told(agreement.require_same_software)
    provenance.version = version
    if other:
        agreement.sources_digest = lambda: "0123456789abcdef"
    yield told(agreement.require_same_software)
    agreement.sources_digest = digest


def told(do: Callable[[], Any]) -> str:
    try:
        return f"gives {do()}"
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[dict[str, Any]]]:
    """ran(processes) -> what each of them found."""
    folder = tmp_path_factory.mktemp("shared")
    fork = multiprocessing.get_context("fork")
    for processes in PROCESSES:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        started = [
            fork.Process(target=in_a_process, args=(number, processes, port, folder))
            for number in range(processes)
        ]
        for process in started:
            process.start()
        for process in started:
            process.join(60)
            assert process.exitcode == 0

    def get(processes: int) -> list[dict[str, Any]]:
        return [torch.load(folder / f"{processes}-{n}.pt") for n in range(processes)]

    return get


@pytest.mark.distributed
@pytest.mark.parametrize("processes", PROCESSES)
def test_a_step(ran: Any, processes: int) -> None:
    expected = step(network(), *batch())
    shares = ran(processes)
    close = dict(rtol=1e-4, atol=1e-5)
    losses = [share["losses"] for share in shares]
    means = torch.tensor(losses).mean(dim=0)
    torch.testing.assert_close(means, torch.tensor(expected["losses"]), **close)
    for number, found in enumerate(shares):
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(found["gradients"][name], gradient, **close, msg=name)
        for name, buffer in expected["statistics"].items():
            torch.testing.assert_close(found["statistics"][name], buffer, **close, msg=name)
        mine = slice(number, None, processes)
        torch.testing.assert_close(found["evaluated"], expected["evaluated"][mine], **close)
        # Each divides by its own images, so that the mean of the processes is that over all.
        torch.testing.assert_close(found["images"] / processes, expected["images"][mine], **close)


@pytest.mark.distributed
@pytest.mark.parametrize("processes", PROCESSES)
def test_what_is_brought_together(ran: Any, processes: int) -> None:
    for number, found in enumerate(ran(processes)):
        assert found["whole"].tolist() == batch()[1].tolist()
        assert found["whole"].dtype == torch.uint8
        assert found["back"]
        assert found["largest"] == [processes - 1, 10]
        assert found["mean"] == sum(range(processes)) / processes
        assert found["alone"] == (True, [number])


@pytest.mark.distributed
@pytest.mark.parametrize("processes", PROCESSES)
def test_alone_a_share_is_a_batch(ran: Any, processes: int) -> None:
    """With the statistics of its own images: those of one process that has no others."""
    for number, found in enumerate(ran(processes)):
        mine = [part[number::processes] for part in batch()]
        expected = step(network(), *mine)["losses"]
        assert found["alone_losses"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.distributed
@pytest.mark.parametrize("processes", PROCESSES)
def test_all_are_told_who_differs(ran: Any, processes: int) -> None:
    here = socket.gethostname()
    for number, found in enumerate(ran(processes)):
        data, mistake, fine, benchmark, same, software, torch_version, sources = found["told"]
        assert data == f"Disagreement: process 1 on {here}: no data at /data/voc: mount it"
        assert mistake == "ValueError: no such benchmark", "the same in all: told once"
        assert fine == f"gives {number}"
        assert benchmark == (
            f"Disagreement: process 1 on {here} has another benchmark than process 0 on {here}: "
            "a.b is 1 and 0; copy it"
        )
        assert (same, software) == ("gives None", "gives None")
        assert torch_version == (
            f"Disagreement: process 1 on {here} runs torch 2.0, process 0 on {here} "
            f"{provenance.version('torch')}: install the same on every machine"
        )
        assert f"process 1 on {here} runs Trickle" in sources
        assert "(sources 0123456789abcdef), process 0" in sources
        assert f"(sources {agreement.sources_digest()}) (git " in sources
