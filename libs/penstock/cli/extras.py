"""Commands that need more than the base install say which extra is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.core.errors import StopProcess


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports inside that fail for a missing package raise `StopProcess` with the command that mends it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("penstock", "penstock_services"):
            raise
        raise StopProcess(
            f"this command needs {error.name}: install it with pip install 'penstock[{name}]'"
        ) from None
