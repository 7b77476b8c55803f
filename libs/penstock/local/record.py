"""`.penstock/processes.json`: every component as it is now, for `penstock ps` and for the next start."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from penstock.local.component import Component
from penstock.local.folder import StackFolder, write_private
from penstock.local.process import Child, started


class ProcessRecord(msgspec.Struct, frozen=True):
    """One component: its process (pid 0: none), where it listens and writes, and what became of it."""

    name: str
    replica: int
    pid: int
    started: str
    port: int
    state: str
    restarts: int
    log: str

    @property
    def child(self) -> Child:
        """What tells its process from another one with the same pid."""
        return Child(self.pid, self.started)


class Record(msgspec.Struct, frozen=True):
    """The supervisor and its components."""

    supervisor: Child
    components: list[ProcessRecord]


def write_record(folder: StackFolder, components: Sequence[Component]) -> None:
    """Replace the record. Call it after each change: a leftover process is found by it."""
    record = Record(
        supervisor=Child(os.getpid(), started(os.getpid())),
        components=[_process(component) for component in components],
    )
    write_private(folder.processes, msgspec.json.encode(record))


def read_record(folder: StackFolder) -> Record | None:
    """The last record; None when there is none or it was cut short by a crash of the machine."""
    try:
        return msgspec.json.decode(folder.processes.read_bytes(), type=Record)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _process(component: Component) -> ProcessRecord:
    spec = component.spec
    return ProcessRecord(
        name=spec.name,
        replica=spec.replica,
        pid=component.pid,
        started=started(component.pid) if component.pid else "",
        port=spec.port,
        state=component.state,
        restarts=component.restarts,
        log=str(spec.log),
    )
