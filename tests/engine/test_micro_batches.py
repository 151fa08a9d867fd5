"""Out of memory: a line that says which batch would fit, or the same batch in parts."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.checkpoints import latest_checkpoint
from engine.memory import Need, available_memory, in_words, is_out_of_memory
from engine.micro_batches import BatchTooLarge, MicroBatches
from engine.runner import QuietRunner

MakeRunner = Callable[..., QuietRunner]
ROOT = Path(__file__).parents[2]

ERRORS = {
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "numpy": MemoryError(),
}


@pytest.fixture
def small_machine(toy: Any) -> Callable[..., Any]:
    """small_machine(3) -> a network that is out of memory above 3 images at once."""

    class Small(toy):  # type: ignore[misc]
        def __init__(self, holds: int, error: str = "cpu", **options: Any) -> None:
            super().__init__(**options)
            self.holds, self.error = holds, error
            self.seen: list[int] = []

        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
            if mode == "loss":
                if len(x) > self.holds:
                    raise ERRORS[self.error]
                self.seen.append(len(x))
            return super().forward(x, y, mode)

    return Small


def weights(runner: QuietRunner) -> dict[str, torch.Tensor]:
    return dict(runner.model.state_dict())


@pytest.mark.reliability(8, "out of memory ends with one line: need, what is there, what would fit")
@pytest.mark.parametrize("error", list(ERRORS))
def test_it_says_what_would_fit(
    make_runner: MakeRunner,
    small_machine: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    model = small_machine(3, error)
    monkeypatch.setattr("engine.memory.available_memory", lambda: 1000)  # of bytes
    runner = make_runner(
        tmp_path, model, batch_size=8, micro_batches=MicroBatches(setting="batch_size in [x]")
    )
    with pytest.raises(BatchTooLarge) as caught:
        runner.train()
    text = str(caught.value)
    assert "\n" not in text
    assert "out of memory at step 1 of 20, with 8 images at once" in text
    assert "images would fit" in text
    assert "--auto-accumulate" in text
    assert "lower batch_size in [x]" in text
    assert isinstance(caught.value, ValueError), "which ends a stage with exit code 2"


def test_other_errors_stay_what_they_are(make_runner: MakeRunner, toy: Any, tmp_path: Path) -> None:
    class Broken(toy):  # type: ignore[misc]
        def forward(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        make_runner(tmp_path, Broken()).train()
    assert not is_out_of_memory(RuntimeError("mat1 and mat2"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.reliability(
    8, "a batch that memory does not hold goes on in halves, with the gradient of the whole batch"
)
@pytest.mark.parametrize(("holds", "parts"), [(7, 2), (3, 4), (1, 8)])
def test_parts_equal_the_whole(
    make_runner: MakeRunner,
    toy: Any,
    small_machine: Any,
    tmp_path: Path,
    measured: Callable[[str], None],
    holds: int,
    parts: int,
) -> None:
    options = {"steps": 12, "batch_size": 8, "ema_decay": 0.9}
    schedule = dict(type="PolyLR", eta_min=1e-3, power=0.9, begin=0, end=12, by_epoch=False)
    whole = make_runner(tmp_path / "whole", toy(), param_scheduler=[dict(schedule)], **options)
    whole.train()
    model = small_machine(holds)
    divided = make_runner(
        tmp_path / "parts",
        model,
        param_scheduler=[dict(schedule)],
        micro_batches=MicroBatches(auto=True),
        **options,
    )
    divided.train()
    assert model.seen == [8 // parts] * 12 * parts
    assert divided.protocol == {"micro_batch": 8 // parts}
    assert f"{parts} parts of {8 // parts}" in " ".join(divided.notes)
    assert divided.iter == whole.iter == 12
    worst = 0.0
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(divided)[name], tensor, rtol=1e-5, atol=1e-6)
        worst = max(worst, float((weights(divided)[name] - tensor).abs().max()))
    measured(f"{parts} parts: largest difference of a weight after 12 steps {worst:.0e}")


@given(rows=st.integers(1, 12).map(lambda n: 2 * n), seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_the_mean_of_the_parts_gradients_is_the_batchs(rows: int, seed: int) -> None:
    """The identity that the above rests on, in closed form: least squares in float64."""
    rng = np.random.default_rng(seed)
    x, y, w = rng.normal(size=(rows, 3)), rng.normal(size=rows), rng.normal(size=3)
    gradient = lambda a, b: 2 * a.T @ (a @ w - b) / len(b)  # noqa: E731
    half = rows // 2
    mean = (gradient(x[:half], y[:half]) + gradient(x[half:], y[half:])) / 2
    np.testing.assert_allclose(mean, gradient(x, y), rtol=1e-9, atol=1e-12)


def test_memory_that_runs_out_later_costs_no_step(
    make_runner: MakeRunner, toy: Any, small_machine: Any, tmp_path: Path
) -> None:
    class Later(small_machine):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
            self.holds = 8 if len(self.seen) < 5 else 4
            return super().forward(x, y, mode)

    whole = make_runner(tmp_path / "whole", toy(), steps=9)
    whole.train()
    model = Later(8)
    later = make_runner(tmp_path / "later", model, steps=9, micro_batches=MicroBatches(auto=True))
    later.train()
    assert model.seen == [8] * 5 + [4, 4] * 4
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(later)[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_goes_on_in_the_same_parts(
    make_runner: MakeRunner, small_machine: Any, tmp_path: Path
) -> None:
    options = {"batch_size": 8, "checkpoint_interval": 3}
    never = make_runner(
        tmp_path / "a", small_machine(4), steps=9, micro_batches=MicroBatches(auto=True), **options
    )
    never.train()
    first = make_runner(
        tmp_path / "b", small_machine(4), steps=9, micro_batches=MicroBatches(auto=True), **options
    )
    first.train()
    for name in ("iter_9.safetensors",):
        (tmp_path / "b" / name).unlink()
    roomy = small_machine(8)  # the parts are those of the run, not of the machine's mood
    resumed = make_runner(
        tmp_path / "b", roomy, steps=9, micro_batches=MicroBatches(auto=True), **options
    )
    resumed.train()
    assert latest_checkpoint(tmp_path / "b") == tmp_path / "b" / "iter_9.safetensors"
    assert roomy.seen == [4, 4] * 3
    assert resumed.protocol == {"micro_batch": 4}
    assert resumed.notes == never.notes
    assert all(torch.equal(weights(resumed)[n], t) for n, t in weights(never).items())


def test_running_statistics_are_not_counted_twice(
    make_runner: MakeRunner, tmp_path: Path, toy: Any
) -> None:
    class Normalized(toy):  # type: ignore[misc]
        """Updates its statistics, then is out of memory with the whole batch."""

        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(4)

        def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
            x = self.norm(x)
            if mode == "loss" and len(x) > 4:
                raise ERRORS["cpu"]
            return super().forward(x, y, mode)

    model = Normalized()
    make_runner(tmp_path, model, steps=3, micro_batches=MicroBatches(auto=True)).train()
    assert int(model.norm.num_batches_tracked) == 3 * 2


@pytest.mark.parametrize(
    ("auto", "smallest", "accumulate", "stop"),
    [(False, 1, 1, 8), (True, 4, 1, 4), (True, 8, 1, 8)],
)
def test_where_it_cannot_go_on_it_says_so(
    make_runner: MakeRunner,
    small_machine: Any,
    tmp_path: Path,
    auto: bool,
    smallest: int,
    accumulate: int,
    stop: int,
) -> None:
    runner = make_runner(
        tmp_path, small_machine(2), micro_batches=MicroBatches(auto=auto, smallest=smallest)
    )
    with pytest.raises(BatchTooLarge, match=f"with {stop} images at once"):
        runner.train()


def test_the_need_is_a_line() -> None:
    need = Need(image=100, fixed=1000, available=1650)
    assert need.of(8) == 1800
    assert need.fitting == 6
    assert Need(image=100, fixed=1000, available=900).fitting == 0
    assert in_words(3 * 2**29) == "1.5 GiB"
    assert in_words(2**19) == "0.5 MiB"


@pytest.mark.slow
def test_a_limit_on_addresses_is_seen() -> None:
    probe = (
        "import resource; from engine.memory import available_memory;"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, -1));"
        "print(available_memory())"
    )
    found = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(found.stdout) == pytest.approx(2**28, rel=0.05)
    assert available_memory() > 0
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


REAL = """
import resource, sys
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader, Dataset
from engine.micro_batches import MicroBatches
from engine.precision import optim_wrapper
from engine.loaders import train_loader
from engine.runner import build_runner

class Images(Dataset):
    def __len__(self): return 512
    def __getitem__(self, key): return {"x": torch.ones(3, 128, 128)}

class Net(BaseModel):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1)]
        for _ in range(3):
            layers += [nn.GELU(), nn.Conv2d(16, 16, 3, padding=1)]
        self.body = nn.Sequential(*layers)
    def forward(self, x, mode="loss"):
        return {"loss": self.body(x).square().mean()}

batch, work_dir, auto, headroom = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "auto", sys.argv[4]
def run(batch, name, steps):
    runner = build_runner(
        label="real", model=Net(), loader=train_loader(Images(), batch_size=batch, seed=0),
        steps=steps, optim_wrapper=optim_wrapper(dict(type="SGD", lr=0.01, momentum=0.9)),
        work_dir=f"{work_dir}/{name}", seed=0, micro_batches=MicroBatches(auto=auto))
    runner.train()
    return runner
run(2, "warm", 1)  # what is loaded on first use
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + int(headroom), -1))
try:
    print(run(batch, "real", 2).protocol)
except ValueError as error:
    print(f"error: {error}")
"""


@pytest.mark.slow
@pytest.mark.reliability(8, "under a real limit the batch that is said to fit does fit")
def test_a_real_limit(tmp_path: Path, measured: Callable[[str], None]) -> None:
    def run(batch: int, mode: str) -> str:
        command = [sys.executable, "-c", REAL, str(batch), str(tmp_path / f"{mode}{batch}"), mode]
        done = subprocess.run(
            [*command, str(750 * 2**20)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={"OMP_NUM_THREADS": "1", "PATH": ""},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    said = run(128, "plain")
    assert said.startswith("error: out of memory at step 1 of 2, with 128 images at once"), said
    fitting = int(said.split(" images would fit")[0].rsplit(" ", 1)[1])
    # By hand: 6 layers keep their input, 16 channels of 128 x 128 float32 are 1 MiB.
    assert 750 / 6 / 3 < fitting < 750 / 6
    assert run(fitting * 9 // 10, "plain") == "{}", said
    assert "out of memory" in run(fitting * 3 // 2, "plain"), said
    assert run(128, "auto") in ("{'micro_batch': 64}", "{'micro_batch': 32}")
    measured(f"128 images do not fit into 750 MiB; said: {fitting}; {fitting * 9 // 10} do")
