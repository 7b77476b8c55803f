"""Imports that cost less: eight services start at once on one machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast


@contextmanager
def without(package: str) -> Iterator[None]:
    """Within, this optional package looks as if it were not installed."""
    if package in sys.modules:
        yield
        return
    # None is how Python marks a module that must not be found.
    modules = cast(dict[str, object], sys.modules)
    modules[package] = None
    try:
        yield
    finally:
        del modules[package]
