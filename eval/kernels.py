"""Which kernels do the work here: GPUs, mmcv's operators, half precision, image decoding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.machine_limits import half_instructions
from eval.findings import Fact, Finding, Section, amount

PROBE_SECONDS = 60
_PROBE = Path(__file__).with_name("torch_probe.py")
_DRIVER = Path("/proc/driver/nvidia/version")


class TorchProbe:
    """Asks torch in a process of its own, which works while the caller looks at other things."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_PROBE)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def answer(self) -> dict[str, Any] | str:
        """What `eval.torch_probe` prints, or why it does not."""
        try:
            out, error = self.process.communicate(timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return f"no answer within {PROBE_SECONDS} s"
        if self.process.returncode < 0:
            return f"it was ended by signal {-self.process.returncode}"
        if self.process.returncode > 0:
            return (error.strip().splitlines() or ["it gave no reason"])[-1]
        try:
            found = json.loads(out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return f"it printed {out!r}"
        return found if isinstance(found, dict) else f"it printed {out!r}"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def check_devices(answer: dict[str, Any] | str) -> Section:
    """GPUs as torch sees them, beside the driver that the machine has."""
    driver = _driver()
    facts: dict[str, Fact | list[str]] = {"driver": driver}
    if isinstance(answer, str):
        finding = Finding(
            what=f"torch cannot be used: {answer}",
            fix="make the environment anew (`make clean run`); a signal points to a processor or "
            "driver that this build of torch is not made for",
        )
        return Section(title="devices", facts=facts, findings=(finding,))
    gpus = answer["gpus"]
    facts |= {
        "cuda_build": answer["cuda_build"],
        "gpus": [
            f"{gpu['name']}, {amount(gpu['free'])} of {amount(gpu['total'])} free" for gpu in gpus
        ],
    }
    findings = []
    if driver is not None and not gpus:
        findings.append(
            Finding(
                what=f"there is an NVIDIA driver ({driver}), and torch finds no GPU",
                fix="a build of torch for the processor only, a driver too old for CUDA "
                f"{answer['cuda_build']}, or CUDA_VISIBLE_DEVICES: nvidia-smi and "
                "`python -c 'import torch; torch.cuda.init()'` say which",
            )
        )
    return Section(title="devices", facts=facts, findings=tuple(findings))


def check_kernels(answer: dict[str, Any] | str) -> Section:
    """Whose operators run, and who decodes images."""
    facts: dict[str, Fact | list[str]] = {}
    findings = []
    if not isinstance(answer, str):
        torchvision, mmcv = answer["torchvision"], answer["mmcv"]
        compiled = mmcv is None
        facts["mmcv_operators"] = "compiled mmcv" if compiled else "torchvision's kernels"
        if torchvision is not None:
            findings.append(
                Finding(
                    what=f"torchvision's kernels cannot be loaded: {_first_line(torchvision)}",
                    fix="torch and torchvision must be of one release: install both together, "
                    "in the versions of requirements.lock",
                )
            )
        if mmcv not in (None, "absent"):
            findings.append(
                Finding(
                    what=f"the compiled mmcv cannot be loaded: {_first_line(mmcv)}",
                    fix="install mmcv-lite==2.1.0, or compile mmcv for this torch; until then "
                    "torchvision's kernels are used",
                    level="note",
                )
            )
        facts["half_precision"] = _half(bool(answer["gpus"]))
    facts["half_instructions"] = half_instructions()
    decoders, problem = _decoders()
    facts |= decoders
    if problem is not None:
        fix = "install opencv-python, or opencv-python-headless where system libraries are missing"
        findings.append(Finding(what=f"images cannot be decoded: {problem}", fix=fix))
    return Section(title="kernels", facts=facts, findings=tuple(findings))


def _half(has_gpu: bool) -> str:
    if has_gpu:
        return "float16"
    return "bfloat16" if {"amx_bf16", "avx512_bf16"}.intersection(half_instructions()) else "none"


def _decoders() -> tuple[dict[str, Fact | list[str]], str | None]:
    """OpenCV's version and the JPEG library it was built with."""
    try:
        import cv2
    except ImportError as error:  # libGL.so.1 and its like are missing in slim containers
        return {"opencv": None}, str(error)
    built = [line.split(":", 1) for line in cv2.getBuildInformation().splitlines() if ":" in line]
    libraries = {name.strip(): value.strip() for name, value in built}
    return {"opencv": cv2.__version__, "jpeg": libraries.get("JPEG", "none")}, None


def _driver() -> str | None:
    try:
        line = _DRIVER.read_text(encoding="utf-8", errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return None
    return " ".join(line.removeprefix("NVRM version:").split())


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
