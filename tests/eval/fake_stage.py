"""Stands in for all programs that a plan calls; imports nothing of ours, so that it is fast.

FAKE_CALLS names a file that gets one line for each call; beside it `spans.txt` gets the job and
the time when it begins and when it ends. FAKE_CRASH, FAKE_DIVERGE, FAKE_HANG, FAKE_SILENT hold
words; a call whose line has one of them does that. FAKE_SECONDS: how long every call takes.
FAKE_STUBBORN: how many seconds it goes on when its driver is gone. FAKE_FILL holds words as the
others do: the disk under the artifact is full when the call ends. FAKE_LOST does too: the result
names evidence that is not there.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

WEIGHTS = b"stand in for tensors"
METRICS = {
    "pretraining": ["top1", "top5"],
    "detection": ["mAP"],
    "segmentation": ["mIoU", "aAcc"],
    "finetune": ["tuned_top1", "macro_f1", "validation_top1"],
    "probes": ["linear_probe", "knn"],
    "robustness": ["fgsm_top1", "corruption_top1"],
    "speed": ["images_per_second_224"],
}


def end_with_the_driver() -> None:
    """What every stage does: its driver holds the other end of a pipe."""
    descriptor = int(os.environ["TRICKLE_DRIVER_PIPE"])

    def wait() -> None:
        os.read(descriptor, 1)
        time.sleep(float(os.environ.get("FAKE_STUBBORN", 0)))
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def span(job: str, what: str) -> None:
    line = f"{job} {what} {time.monotonic()} {os.getpid()}\n"
    with open(Path(os.environ["FAKE_CALLS"]).with_name("spans.txt"), "a") as spans:
        spans.write(line)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    end_with_the_driver()
    flags = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    artifact, result = Path(flags["--artifact"]), flags.get("--result")
    job = Path(result).parent.name if result else f"weights-{artifact.name}"
    if result and "--backbone" in flags:
        job = f"pretraining-{job}"
    with open(os.environ["FAKE_CALLS"], "a") as calls:
        calls.write(" ".join([job, *sys.argv[1:]]) + "\n")
    span(job, "begins")
    try:
        return work(job, flags, artifact, result)
    finally:
        span(job, "ends")


def work(job: str, flags: dict[str, str], artifact: Path, result: str | None) -> int:
    def told(name: str) -> bool:
        return any(word in job for word in os.environ.get(name, "").split())

    if told("FAKE_HANG"):
        Path(os.environ["FAKE_CALLS"]).with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(60)
    time.sleep(float(os.environ.get("FAKE_SECONDS", 0)))
    if told("FAKE_CRASH"):
        print("step 3 of 9", file=sys.stderr)
        raise RuntimeError(f"the disk fell out of {job}")
    if told("FAKE_SILENT"):
        return 0
    seed = int(flags["--seed"])
    status = "diverged" if told("FAKE_DIVERGE") else "ok"
    trained = "--backbone" in flags and result is not None
    if status == "ok" and (trained or result is None):
        write_artifact(artifact, flags, trained)
    if result is not None:
        write_result(Path(result), job, artifact, seed, status, lost=told("FAKE_LOST"))
    if told("FAKE_FILL"):
        with suppress(OSError), open(artifact.parents[1] / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
    return 0


def write_artifact(directory: Path, flags: dict[str, str], trained: bool) -> None:
    name = flags["--backbone"]
    architecture = name.split("_")[0] if trained else name.removeprefix("scratch:").split("@")[0]
    width = float(flags.get("--width", 0.25))
    value = value_of(directory, int(flags["--seed"]))
    directory.mkdir(parents=True, exist_ok=True)  # a damaged one is replaced
    card = {
        "schema": 1,
        "architecture": architecture,
        "arguments": {"width": width},
        "weights": "trained" if trained else "random",
        "preprocessing": {
            "mean": [123.68, 116.779, 103.939],
            "std": [58.393, 57.12, 57.375],
            "channel_order": "RGB",
            "interpolation": "bilinear",
        },
        "features": {"channels": [64, 128, 256, 512], "strides": [4, 8, 16, 32]},
        "metrics": {"top1": value, "top5": value, "n": 100} if trained else None,
        "seed": int(flags["--seed"]),
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "cost": {"parameters": 1_500_000, "gmacs": 0.28, "seconds": 10.0},
    }
    if not trained and (file := name.partition("@")[2]) and Path(file).is_file():
        digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        card["notes"] = {"weights_file": Path(file).name, "weights_sha256": digest}
    (directory / "card.json").write_text(json.dumps(card))
    (directory / "model.safetensors").write_bytes(WEIGHTS)


def value_of(artifact: Path, seed: int) -> int:
    """Whole numbers: random weights 20 + seed, trained ones 30 + 2 seed."""
    return 20 + seed if artifact.name.startswith("scratch") else 30 + 2 * seed


def write_result(
    path: Path, job: str, artifact: Path, seed: int, status: str, *, lost: bool = False
) -> None:
    task = job.partition("-")[0]
    names = METRICS[task]
    metric = {
        "value": value_of(artifact, seed),
        "unit": "percent",
        "n": 100,
        "higher_is_better": True,
    }
    content = {
        "status": status,
        "metrics": dict.fromkeys(names, metric) if status == "ok" else {},
        "cost": {"seconds": 10.0, "peak_memory_mb": 900.0},
        "environment": {"cpu": "a processor", "cpu_count": "2", "accelerator": "none"}
        | ({"classifier": "classifier"} if task == "finetune" else {}),
        "evidence_sha256": "e" * 64 if lost else None,
    }
    if task == "finetune" and status == "ok":
        shutil.copytree(artifact, path.parent / "classifier", dirs_exist_ok=True)
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    sys.exit(main())
