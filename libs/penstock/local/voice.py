"""What `penstock up` tells: plain lines, coloured on a terminal, or one JSON object a line."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from penstock.local.component import Component
from penstock.local.ports import HOST


class Voice:
    """Writes to stdout; lines appear at once."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A sentence for people."""
        self._write(escape(text), {"message": text})

    def ready(self, component: Component, seconds: float) -> None:
        """A component does its work."""
        spec = component.spec
        log = _shown(spec.log)
        address = f"{HOST}:{spec.port}"
        line = f"  [green]{spec.label:<13}[/] {address:<16} {seconds:5.1f} s   [dim]{escape(log)}[/]"
        self._write(
            line,
            {
                "component": spec.name,
                "replica": spec.replica,
                "state": "ready",
                "port": spec.port,
                "seconds": round(seconds, 3),
                "log": str(spec.log),
            },
        )

    def restarting(self, component: Component, why: str, delay: float) -> None:
        """A component ended by itself."""
        spec = component.spec
        log = _shown(spec.log)
        short = escape(why.partition("\n")[0])
        line = f"  [yellow]{spec.label:<13}[/] {short}; again in {delay:g} s   [dim]{escape(log)}[/]"
        facts: dict[str, object] = {"component": spec.name, "replica": spec.replica, "state": "restarting"}
        self._write(line, {**facts, "reason": why, "delay": delay})

    def _write(self, line: str, facts: dict[str, object]) -> None:
        if self._as_json:
            self._console.out(msgspec.json.encode(facts).decode(), highlight=False)
        else:
            self._console.print(line)


def _shown(path: Path) -> str:
    """A path as short as it can be from here."""
    shorter = os.path.relpath(path)
    return shorter if not shorter.startswith("..") else str(path)
