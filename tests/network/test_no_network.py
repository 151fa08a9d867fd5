"""The network is asked only for a model that is asked for by name; nothing of ours listens."""

from __future__ import annotations

import ast
import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.processes import stay_on_this_machine
from tests.network.cut_network import CutNetwork, own_network

ROOT = Path(__file__).parents[2]
PACKAGES = ("backbones", "engine", "benchmarks", "classification", "detection", "segmentation")
LISTENING_CALLS = {
    "bind",
    "create_server",
    "listen",
    "run_app",
    "serve",
    "serve_forever",
    "start_server",
    "start_unix_server",
}
LISTENING_MODULES = {
    "aiohttp",
    "fastapi",
    "flask",
    "http.server",
    "socketserver",
    "tensorboard.program",
    "tornado",
    "uvicorn",
    "werkzeug",
    "wsgiref",
    "xmlrpc.server",
}


def python(code: str, network: CutNetwork, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-c", code],
        env={**os.environ, **network.environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import socket; socket.socket().bind(('0.0.0.0', 0))",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')",
    ],
)
def test_the_cut_is_real(code: str, tmp_path: Path) -> None:
    network = CutNetwork(tmp_path / "sockets.txt")
    done = python(code, network)
    assert done.returncode == 1
    assert "the test has cut the network" in done.stderr
    assert (network.processes, len(network.attempts)) == (1, 1)


def test_sockets_within_the_machine_pass(tmp_path: Path) -> None:
    network = CutNetwork(tmp_path / "sockets.txt")
    code = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('x.sock'); s.listen()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **network.environment}
    )
    assert done.returncode == 0
    assert network.attempts == []


@pytest.mark.slow  # timm and torchvision take seconds to import
@pytest.mark.reliability(
    13, "a model asked for by name without a network ends at once with a line that says so"
)
@pytest.mark.parametrize("spec", ["timm:resnet18", "torchvision:resnet18"])
def test_a_model_by_name_without_a_network(
    spec: str, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    network = CutNetwork(tmp_path / "sockets.txt")
    obtain = [sys.executable, "-m", "backbones.obtain"]
    start = time.monotonic()
    done = subprocess.run(
        [*own_network(), *obtain, "--backbone", spec, "--artifact", str(tmp_path / "artifact")],
        cwd=ROOT,
        env={
            **os.environ,
            **network.environment,
            "HF_HOME": str(tmp_path / "hf"),
            "TORCH_HOME": str(tmp_path / "torch"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert spec in line
    assert "could not be downloaded" in line
    assert f"{spec}@FILE" in line, "what to do"
    assert len(network.attempts) >= 1, "a model by name is the one thing that asks"
    assert not (tmp_path / "artifact").exists()
    assert seconds < 60
    measured(f"{spec}: {seconds:.0f} s, imports included")


@pytest.mark.reliability(12, "no source of ours starts a server or listens on an address")
def test_nothing_listens(measured: Callable[[str], None]) -> None:
    files = [
        file
        for package in (*PACKAGES, "eval", "bench", "docs")
        for file in sorted((ROOT / package).rglob("*.py"))
    ]
    found = [where for file in files for where in listeners(file)]
    assert found == []
    measured(
        f"{len(files)} files, none of {len(LISTENING_CALLS)} calls and none of "
        f"{len(LISTENING_MODULES)} modules"
    )


@pytest.mark.slow  # three processes that import torch
@pytest.mark.distributed
@pytest.mark.reliability(
    12, "processes that train together on one machine listen on its loopback address only"
)
def test_training_together_stays_on_the_machine(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(ROOT / "tests/network/listening.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    addresses = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert all(addresses), "gloo listens for the other process"
    assert all(ipaddress.ip_address(a).is_loopback for own in addresses for a in own)
    measured(f"2 processes, {', '.join(sorted({a for own in addresses for a in own}))}")


@pytest.mark.parametrize(
    ("variables", "interface"),
    [
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}, "lo"),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, None),
        ({"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "GLOO_SOCKET_IFNAME": "eth1"}, "eth1"),
    ],
)
def test_the_interface_of_processes_that_train_together(
    variables: dict[str, str], interface: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Set first, so that monkeypatch takes away what is set by the code.
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    for name, value in {"RANK": "0", **variables}.items():
        monkeypatch.setenv(name, value)
    stay_on_this_machine()
    assert os.environ.get("GLOO_SOCKET_IFNAME") == interface
    assert os.environ.get("NCCL_SOCKET_IFNAME") == ("lo" if interface else None)


def test_what_listens_is_found(tmp_path: Path) -> None:
    file = tmp_path / "server.py"
    file.write_text("import http.server\nfrom tensorboard import program\ns.bind(('', 80))\n")
    assert len(list(listeners(file))) == 3


def listeners(file: Path) -> Iterator[str]:
    """Every import of a server and every call that opens an address, as `file:line what`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        bad = [name for name in names if name in LISTENING_MODULES]
        if isinstance(node, ast.Call):
            called = node.func
            name = getattr(called, "attr", getattr(called, "id", ""))
            bad += [name] if name in LISTENING_CALLS else []
        for name in bad:
            yield f"{file}:{getattr(node, 'lineno', 0)} {name}"
