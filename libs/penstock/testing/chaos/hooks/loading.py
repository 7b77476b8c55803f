"""How the hooks come into a process: by a `sitecustomize` on its path, which Python loads by itself."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.runtime import run
from penstock.runtime.run import Process
from penstock.runtime.settings import ProcessSettings, variable
from penstock.testing.chaos.hooks.armed import ARMED, BITES, passing
from penstock.testing.chaos.hooks.points import POINTS

FOLDER: Final = "PENSTOCK_CHAOS"
MUTANT: Final = "mutant"
"""The file in the folder that names the mutant that processes are from their start."""
MUTANTS: Final = "penstock.testing.chaos.mutants"
SITE: Final = Path(__file__).parent / "site"


def environment(folder: Path) -> dict[str, str]:
    """What to add to the environment of all processes of a stack; makes the folder."""
    for name in (ARMED, BITES):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = [str(SITE), *filter(None, [variable("PYTHONPATH")])]
    return {FOLDER: str(folder), "PYTHONPATH": os.pathsep.join(path)}


def load() -> None:
    """Make every service that this process runs pass its points; called while Python starts."""
    folder = variable(FOLDER)
    if folder:
        run.serve = _hooked(run.serve, Path(folder))


def _hooked(serve: Callable[..., int], folder: Path) -> Callable[..., int]:
    """All modules of the service are loaded when it is served, and nothing of them is made yet."""

    def hooked(name: str, settings: ProcessSettings, body: Callable[[Process], None]) -> int:
        if (mutant := folder / MUTANT).exists():
            importlib.import_module(MUTANTS).MUTANTS[mutant.read_text().strip()].install()
        for point in POINTS.values():
            if point.service == name:
                point.place(passing(folder, settings.instance, point.name))
        return serve(name, settings, body)

    return hooked
