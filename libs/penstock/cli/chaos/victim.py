"""The process of the running stack that is to be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

from penstock.core.errors import PenstockError, Problem, RejectInput, RetryLater, StopProcess
from penstock.local.folder import NAME, StackFolder, find, is_held
from penstock.local.process import is_alive
from penstock.local.record import ProcessRecord, read_record


class Victim:
    """One component of the stack in `folder`."""

    def __init__(self, folder: StackFolder, component: ProcessRecord) -> None:
        self._folder = folder
        self._restarts = component.restarts
        self.name = component.name
        self.replica = component.replica
        self.label = f"{component.name}-{component.replica}"
        self.pid = component.pid

    def kill(self) -> None:
        """SIGKILL. Raises StopProcess when it belongs to somebody else."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            raise RetryLater(f"{self.label} has ended meanwhile: once more") from None
        except PermissionError:
            raise StopProcess(f"{self.label} belongs to another user: act as that one") from None

    def wipe_and_kill(self) -> None:
        """Kafka loses its data, then its life; its supervisor formats it anew.

        Who cannot be killed keeps its data. Raises as `kill` does.
        """
        log = self._folder.data / "kafka" / "log"
        lost = log.with_name(f"lost-{self.pid}")
        with contextlib.suppress(FileNotFoundError):
            log.rename(lost)
        try:
            self.kill()
        except PenstockError:
            with contextlib.suppress(OSError):  # unless the next broker has data of its own by now
                lost.rename(log)
            raise
        finally:
            shutil.rmtree(lost, ignore_errors=True)

    def now(self) -> tuple[str, bool]:
        """Its state, as its supervisor sees it, and whether that has noticed the kill."""
        record = read_record(self._folder)
        found = [one for one in record.components if _is(one, self.name, self.replica)] if record else []
        if not found:
            raise RetryLater("the stack is being stopped")
        return found[0].state, found[0].restarts > self._restarts


def victims(start: Path, name: str) -> list[Victim]:
    """All replicas of a component of the stack that runs in the nearest `.penstock/`, those that live.

    Raises:
        RetryLater: no stack runs here, or none of them is ready now.
        RejectInput: the stack has no such component.
    """
    folder = find(start)
    if folder is None or not is_held(folder):
        raise RetryLater(f"no stack runs here ({NAME}/ in {start} or above it): start one with `penstock up`")
    record = read_record(folder)
    found = [one for one in record.components if one.name == name] if record else []
    if not found:
        there = ", ".join(sorted({one.name for one in record.components})) if record else "nothing yet"
        raise RejectInput(Problem(f"the stack that runs here has no {name}", hint=f"it has {there}"))
    alive = [Victim(folder, one) for one in found if one.state == "ready" and is_alive(one.child)]
    if not alive:
        raise RetryLater(f"{name} is not ready now (`penstock ps` shows what it does): try again later")
    return alive


def _is(component: ProcessRecord, name: str, replica: int) -> bool:
    return (component.name, component.replica) == (name, replica)
