"""`trickle doctor`: what runs here, on what data, and what is wrong with it and what to do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.packaged import PACKAGED
from eval.data_roots import check_data, loaded
from eval.findings import Fact, Finding, Section, amount
from eval.kernels import TorchProbe, check_devices, check_kernels
from eval.machine import check_machine, check_shared_memory
from eval.places import check_cache, check_out
from eval.text import in_one_line
from eval.versions import check_versions


def diagnose(*, benchmark: str | None = None, out: Path | None = None) -> list[Section]:
    """Looks at everything, changes nothing. benchmark: a packaged one's name or a file.

    What is asked for has to work; a packaged benchmark that is not asked for may lack its data.
    """
    names = list(dict.fromkeys([*PACKAGED, *([] if benchmark is None else [benchmark])]))
    with closing(TorchProbe()) as torch:  # torch takes seconds; meanwhile the rest
        first = [check_versions(), check_machine()]
        last = [check_data(name, asked=name == benchmark) for name in names]
        if (chosen := loaded(benchmark or PACKAGED[0])) is not None:
            last.append(check_shared_memory(chosen))
        last.append(check_cache())
        if out is not None:
            last.append(check_out(out))
        answer = torch.answer()
    return [*first, check_devices(answer), check_kernels(answer), *last]


def healthy(sections: list[Section]) -> bool:
    return not _findings(sections, "wrong")


def to_report(sections: list[Section]) -> dict[str, Any]:
    """`{"healthy", "wrong": [{"what", "fix"}], "notes": [...], "sections": {title: facts}}`."""
    return {
        "healthy": healthy(sections),
        "wrong": [{"what": f.what, "fix": f.fix} for f in _findings(sections, "wrong")],
        "notes": [{"what": f.what, "fix": f.fix} for f in _findings(sections, "note")],
        "sections": {section.title: dict(section.facts) for section in sections},
    }


def to_text(sections: list[Section]) -> str:
    """For reading; whatever a file or a variable holds, no terminal acts on it."""
    lines = []
    for section in sections:
        lines += [in_one_line(section.title), *_fact_lines(section), ""]
    for title, level in (("Worth knowing", "note"), ("What is wrong", "wrong")):
        if found := _findings(sections, level):
            lines += [f"{title}, and what to do:" if level == "wrong" else f"{title}:", ""]
            for finding in found:
                lines += [f"  - {in_one_line(finding.what)}", f"    {in_one_line(finding.fix)}"]
            lines += [""]
    if healthy(sections):
        lines += ["Nothing is wrong.", ""]
    return "\n".join(lines).rstrip()


def _findings(sections: list[Section], level: str) -> list[Finding]:
    return [f for section in sections for f in section.findings if f.level == level]


def _fact_lines(section: Section) -> list[str]:
    lines = []
    for key, value in section.facts.items():
        name = key.removesuffix("_bytes").replace("_", " ")
        if isinstance(value, list):
            lines += [f"  {name:<20}{in_one_line(item)}" for item in value or ["none"]]
        else:
            lines.append(f"  {name:<20}{_shown(key, value)}")
    return lines


def _shown(key: str, value: Fact) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key.endswith("_bytes") and isinstance(value, int):
        return amount(value)
    return f"{value:g}" if isinstance(value, float) else in_one_line(str(value))
