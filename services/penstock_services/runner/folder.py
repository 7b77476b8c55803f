"""The state folder of a runner: its own while it runs, and what the one before it left there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from penstock.core.errors import StopProcess
from penstock_services.runner.workspace import remove_tree

MAX_RUNNERS: Final = 1_000
"""Unnamed runners that may share a `state_dir`."""


class StateFolder:
    """Of one runner, locked until the process ends.

    In it: `journal`, `spool/`, `work/` (workspaces), `kept/`, and `group`, which names its control group.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock
        self.journal = path / "journal"
        self.spool = path / "spool"
        self.work = path / "work"
        self.group = path / "group"

    @classmethod
    def claim(cls, state_dir: str, instance: str) -> StateFolder:
        """Take the folder of that name, or without a name the first that nobody uses.

        An unnamed runner so finds the reports and logs of one that died.

        Raises:
            StopProcess: it is in use, or cannot be made.
        """
        parent = Path(state_dir).absolute()
        try:
            for path in _candidates(parent, instance):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                return cls(path, lock)
        except OSError as error:
            raise StopProcess(f"{error.filename}: {error.strerror}; set PENSTOCK_STATE_DIR") from error
        raise StopProcess(
            f"another runner uses {parent / instance}: "
            "give this one its own PENSTOCK_INSTANCE or PENSTOCK_STATE_DIR"
        )

    def leftovers(self) -> list[Path]:
        """Workspaces of attempts that died with an earlier process."""
        return list(self.work.iterdir()) if self.work.is_dir() else []

    def release(self) -> None:
        """Let others have it."""
        os.close(self._lock)


def remove_all(folders: list[Path]) -> None:
    """Remove these workspaces; may take long."""
    for folder in folders:
        remove_tree(folder)


def _candidates(parent: Path, instance: str) -> Iterator[Path]:
    if instance:
        yield parent / instance
        return
    for number in range(MAX_RUNNERS):
        yield parent / f"runner-{number}"
