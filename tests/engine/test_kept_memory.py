"""Memory that is kept for the next step changes no bit of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine.fast_paths import VARIABLE

STEPS = """
import hashlib, sys
import torch
from torch import nn
from engine import stage

kept = stage.keep_freed_memory
stage.keep_freed_memory = lambda: print("kept", kept())

def main(argv):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(4):
        # Half a MB to 2 MB a tensor: what the C library gives back without it.
        images, labels = torch.randn(16, 3, 48, 48), torch.randint(0, 5, (16,))
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = b"".join(t.numpy().tobytes() for t in network.state_dict().values())
    print(hashlib.sha256(state).hexdigest(), float(loss.detach()))

sys.exit(stage.run_stage(main, []))
"""


def steps(switched_off: str) -> subprocess.Popen[str]:
    environment = {**os.environ, VARIABLE: switched_off}
    command = [sys.executable, "-c", STEPS]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_few_steps_have_the_same_bits_with_it_and_without() -> None:
    processes = steps(""), steps("kept_memory")
    kept, plain = (process.communicate(timeout=120)[0].splitlines() for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert kept[0].startswith("kept ")
    assert kept[1:] == plain
    assert len(plain[0].split()[0]) == 64
