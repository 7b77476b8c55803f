"""`resources` of a job: cores, memory and architecture that it asks for."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from penstock.core.architectures import ALIASES, ARCHITECTURES, architecture
from penstock.definition import limits, shape, values
from penstock.definition.expressions import expected
from penstock.definition.model import Resources
from penstock.definition.report import Report
from penstock.definition.source import Path

CPU: Final = r"[0-9]{1,7}m|[0-9]{1,4}(?:\.[0-9]{1,6})?"
MEMORY: Final = r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(Ki|Mi|Gi|Ti|k|M|G|T)?B?"

_CPU: Final = re.compile(CPU)
_MEMORY: Final = re.compile(MEMORY)
_BYTES: Final = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4,
}  # fmt: skip


def read_resources(report: Report, path: Path, value: Any) -> Resources:
    """{cpu, memory, arch}: the keys that were given."""
    return cast(Resources, values.read_object(report, path, value, RESOURCES, shape.RESOURCES))


def _read_cpu(report: Report, path: Path, value: Any) -> float | None:
    cores = None
    if isinstance(value, str) and _CPU.fullmatch(value):
        cores = int(value[:-1]) / 1000 if value.endswith("m") else float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        cores = float(value)
    if cores is not None and 0 < cores <= limits.MAX_CPU:
        return cores
    expected(report, path, f"cores such as 2, 0.5 or 500m, at most {limits.MAX_CPU:,}", value)
    return None


def _read_memory(report: Report, path: Path, value: Any) -> int | None:
    size = None
    written = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    if written:
        size = round(float(written[1]) * _BYTES[written[2] or ""])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    if size is not None and limits.MIN_MEMORY_BYTES <= size <= limits.MAX_MEMORY_BYTES:
        return size
    hint = "the units are Ki, Mi, Gi, Ti, and k, M, G, T of 1,000; without one it is bytes"
    expected(report, path, "memory such as 512Mi or 4Gi, from 1Mi to 64Ti", value, hint)
    return None


def _read_arch(report: Report, path: Path, value: Any) -> str | None:
    text = values.read_text(report, path, value)
    if text is None:
        return None
    arch = architecture(text)
    if arch in ARCHITECTURES:
        return arch
    known = (*ARCHITECTURES, *ALIASES)
    near = report.suggest(text.lower(), known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
    report.expected(path, "an architecture such as x86_64 or aarch64", text, hint)
    return None


RESOURCES: Final[dict[str, values.Reader]] = {
    "cpu": _read_cpu,
    "memory": _read_memory,
    "arch": _read_arch,
}
