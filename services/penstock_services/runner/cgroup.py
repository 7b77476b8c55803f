"""The control group (cgroup v2) in which a runner's attempts live, where the system lets it have one.

A guard sees to the end of its attempt, and the runner to that of a guard. When all of them are killed at
once, nobody is left to; but the kernel knows who belongs to the group, so the runner's next life kills what
they left.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from penstock.core.ids import uuid4
from penstock.runtime.clock import pause
from penstock.runtime.log import logger

PREFIX: Final = "penstock-"
EMPTY_SECONDS: Final = 5.0
"""How long the kernel may take to end those that were killed."""
LOOK_SECONDS: Final = 0.02

log = logger(__name__)


class ControlGroup:
    """Of one runner at a time; `record` is a file of its state folder that names it for the next life."""

    def __init__(self, record: Path) -> None:
        """Kill what an earlier life of the runner left."""
        self._record = record
        self._group: Path | None = None
        self._tried = False
        with contextlib.suppress(OSError):
            left = Path(record.read_text(errors="replace"))
            if left.name.startswith(PREFIX) and left.is_dir():
                _end(left)
            record.unlink()

    def entry(self) -> str:
        """The file by which a process joins it (it writes 0 there), empty where there is no such group."""
        if not self._tried:
            self._tried = True
            self._group = self._make()
        return str(self._group / "cgroup.procs") if self._group else ""

    def close(self) -> None:
        """Kill what is left, and give it back."""
        if self._group is not None:
            _end(self._group)
            self._record.unlink(missing_ok=True)
            self._group = None

    def _make(self) -> Path | None:
        parent = own_group()
        if parent is None:
            return None
        group = parent / f"{PREFIX}{uuid4()}"
        try:
            self._record.write_text(str(group))
            group.mkdir()
            if (group / "cgroup.kill").exists():  # since Linux 5.14
                return group
            group.rmdir()
        except OSError as error:  # the guards are enough for all but their own sudden end
            log.info("no control group for attempts (systemd gives one by Delegate=yes)", error=str(error))
        self._record.unlink(missing_ok=True)
        return None


def own_group() -> Path | None:
    """The folder of the control group that this process is in; None where there is no cgroup v2."""
    with contextlib.suppress(OSError):
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        inside = "".join(line[3:] for line in groups if line.startswith("0::"))  # of v2 there is one
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            if inside and after.startswith("cgroup2 "):
                root, mount = before.split()[3:5]
                if Path(inside).is_relative_to(root):
                    return Path(mount) / Path(inside).relative_to(root)
    return None


def _end(group: Path) -> None:
    """Kill all that is in it, and remove it."""
    try:
        if "populated 1" in (group / "cgroup.events").read_text():
            log.warning("processes that were left are killed", group=str(group))
            (group / "cgroup.kill").write_text("1")
        for _ in range(round(EMPTY_SECONDS / LOOK_SECONDS)):
            if "populated 0" in (group / "cgroup.events").read_text():
                break
            pause(LOOK_SECONDS)
        for folder, *_ in os.walk(group, topdown=False):  # a job may have made groups of its own in it
            Path(folder).rmdir()
    except FileNotFoundError:
        pass  # the last guard did it
    except OSError as error:
        log.warning("control group not removed", group=str(group), error=str(error))
