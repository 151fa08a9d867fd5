"""Times the forward pass of an artifact's backbone, and its memory."""

from __future__ import annotations

import statistics
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.schema import Benchmark, load_benchmark
from classification.speed_protocol import ROUNDS, WARMUP, speed_protocol
from engine.measuring import measurement_arguments
from engine.processes import how_it_ran, is_main, tell
from engine.results import Metric, StageResult
from engine.stage import run_stage

if TYPE_CHECKING:
    from torch import Tensor, nn


def measure(artifact: Path, benchmark: Benchmark, *, label: str) -> StageResult:
    """images_per_second_224 and, where the benchmark detects, images_per_second_detection.

    cost: for each size the quartiles of the rounds' rates, and forward_memory_mb: the most that
    the tensors of a pass take at once, weights and images included. A network that does not take a
    size has no number for it, and a note says so. Raises ArtifactError.
    """
    import torch

    from backbones.artifact import load_artifact
    from engine.cost import peak_memory_mb, stopwatch
    from engine.fast_paths import is_fast
    from engine.stage import environment

    protocol = speed_protocol(benchmark, "")
    layout = torch.channels_last if is_fast("channels_last") else torch.contiguous_format
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cost: dict[str, float] = {}
    notes: list[str] = []
    passes: dict[str, Callable[[], object]] = {}
    with stopwatch(cost), torch.inference_mode():
        backbone = load_artifact(artifact).to(device).to(memory_format=layout)
        for name, size in protocol["sizes"].items():
            width, height = size["image_size"]
            images = torch.zeros(
                size["batch"], backbone.input_channels, height, width, device=device
            )
            images = images.contiguous(memory_format=layout)
            try:
                cost[f"forward_memory_mb_{name}"] = forward_memory(backbone, images) / 2**20
            except ValueError as error:  # it takes images of its own size alone
                notes.append(f"no speed at {width}x{height}: {error}")
                continue
            passes[name] = _pass(backbone, images)
        seconds = in_turns(passes, rounds=ROUNDS, warmup=WARMUP)
    metrics = {}
    for name, size in protocol["sizes"].items():
        rates = [size["batch"] / taken for taken in seconds.get(name, ())]
        metrics[f"images_per_second_{name}"] = Metric(
            value=statistics.median(rates) if rates else None,
            unit="images/s",
            n=len(rates) * size["batch"],
        )
        if rates:
            low, _, high = statistics.quantiles(rates, n=4)
            cost |= {f"images_per_second_{name}_q1": low, f"images_per_second_{name}_q3": high}
    known = environment()
    where = known["accelerator"] if device.type == "cuda" else known["cpu"]
    notes.append(f"measured on {where} with {known['threads']} thread(s), float32")
    cost["peak_memory_mb"] = peak_memory_mb()
    for name, metric in metrics.items():
        if metric.value is not None:
            tell(f"  {label}: {name} {metric.value:.1f}")
    return StageResult(
        status="ok",
        metrics=metrics,
        cost=cost,
        protocol={**protocol, **how_it_ran(), "threads": int(known["threads"])},
        environment=known,
        notes=tuple(notes),
    )


def _pass(backbone: nn.Module, images: Tensor) -> Callable[[], object]:
    return lambda: backbone(images)


def in_turns(
    calls: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int
) -> dict[str, list[float]]:
    """Seconds of each call by name, every one once in each round, so that all meet the same load
    of the machine. warmup: rounds before, which are not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(warmup + rounds):
        for name, call in calls.items():
            _synchronize()
            start = time.perf_counter()
            call()
            _synchronize()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _synchronize() -> None:
    import torch

    if torch.cuda.is_available():  # its work is timed, and not the launching of it
        torch.cuda.synchronize()


def forward_memory(network: nn.Module, images: Tensor) -> int:
    """The most bytes that tensors take at once in a forward pass: weights, images, features.

    Counted as tensors come and go, so that it does not depend on what else the process holds. Of
    what a kernel needs for itself nothing is known.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    storages: dict[int, int] = {}
    most = 0

    def hold(tensor: Tensor) -> None:
        nonlocal most
        storage = tensor.untyped_storage()
        if storage._cdata in storages:
            return
        storages[storage._cdata] = storage.nbytes()
        weakref.finalize(storage, storages.pop, storage._cdata)
        most = max(most, sum(storages.values()))

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            found = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(found):
                if isinstance(leaf, torch.Tensor):
                    hold(leaf)
            return found

    for tensor in (*network.parameters(), *network.buffers(), images):
        hold(tensor)
    with torch.inference_mode(), Watch():  # type: ignore[no-untyped-call]
        network(images)
    return most


def main(argv: list[str] | None = None) -> None:
    """Measures and writes the result. Raises ValueError for a mistake of the user's."""
    arguments = measurement_arguments(__doc__, argv)
    card = read_card(arguments.artifact)
    benchmark = load_benchmark(arguments.benchmark)
    if not is_main():  # there is nothing to share
        return
    label = f"speed, {card.architecture}, seed {arguments.seed}"
    measure(arguments.artifact, benchmark, label=label).write(arguments.result)


if __name__ == "__main__":
    sys.exit(run_stage(main))
