"""What a job says of those that told it to wait: the file that `CI_RATE_LIMITS` names, read at its end.

One `NAME SECONDS` a line: for so long no job of the tenant that takes the lock of that name is started.
A line that is none is told in the job's log and is no failure.
"""

from __future__ import annotations

import errno
import math
import os
import stat
import unicodedata
from pathlib import Path
from typing import Final

from penstock.events.jobs import MAX_LIMITED, limited_fault
from penstock_services.runner.executors import Output

MAX_BYTES: Final = 32 * 1024
"""Of the file; more than so many lines can have."""
MAX_TOLD: Final = 10
"""Bad lines that are told of one job."""

Limited = tuple[tuple[str, float], ...]
"""Names and seconds."""


def read(path: Path, output: Output) -> Limited:
    """What the file says; of one that is not there nothing. It never fails and never waits."""
    try:
        data = _content(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        faults = [f"cannot be read: {error.strerror}"]
        limited: Limited = ()
    else:
        limited, faults = parse(data)
    for fault in faults[:MAX_TOLD]:
        output.write("stderr", f"penstock: CI_RATE_LIMITS {fault}\n".encode())
    return limited


def parse(data: bytes) -> tuple[Limited, list[str]]:
    """Names, each once with its longest time, and what is wrong with the other lines."""
    found: dict[str, float] = {}
    faults: list[str] = []
    text = data[:MAX_BYTES].decode("utf-8", "backslashreplace")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(data) > MAX_BYTES or len(lines) > MAX_LIMITED:
        faults.append(f"has more than {MAX_LIMITED} lines: the first ones count")
    for number, line in enumerate(lines[:MAX_LIMITED], 1):
        name, seconds, fault = _line(line)
        if fault:
            faults.append(f"line {number}: {fault}; write `NAME SECONDS`")
        else:
            found[name] = max(found.get(name, 0.0), seconds)
    return tuple(found.items()), faults


def _line(line: str) -> tuple[str, float, str]:
    """Name, seconds, and what is wrong, if anything is."""
    words = line.rsplit(maxsplit=1)
    try:
        seconds = float(words[-1])
    except ValueError:
        seconds = math.nan
    name = unicodedata.normalize("NFC", words[0].strip()) if len(words) > 1 else ""
    return name, seconds, limited_fault(name, seconds)


def _content(path: Path) -> bytes:
    """The first bytes of an ordinary file. The job may have put anything there: a link, a pipe."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file")
        return os.read(file, MAX_BYTES + 1)
    finally:
        os.close(file)
