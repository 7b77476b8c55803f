"""Puts a call before or behind a function of production code, from outside.

A target is `module:Name.of.function`. It must be looked up where it is called: a name that another module has
imported is another target.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

Passed = Callable[[], None]
"""Called by a process that passes a point."""
Place = Callable[[Passed], None]
"""Makes this process call it there."""


def before(target: str, when: Callable[..., bool] = lambda *_, **__: True) -> Place:
    """Passed when the target is called with arguments for which `when` holds."""

    def wrap(original: Callable[..., Any], passed: Passed) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if when(*args, **kwargs):
                passed()
            return original(*args, **kwargs)

        return watched

    return lambda passed: replace(target, lambda original: wrap(original, passed))


def after(target: str, when: Callable[..., bool]) -> Place:
    """Passed when the target has returned, if `when` holds for what it returned and its arguments."""

    def wrap(original: Callable[..., Any], passed: Passed) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if when(result, *args, **kwargs):
                passed()
            return result

        return watched

    return lambda passed: replace(target, lambda original: wrap(original, passed))


def within(outer: str, inner: Place, when: Callable[..., bool] = lambda *_, **__: True) -> Place:
    """Passed where `inner` is, but only while `outer` runs with arguments for which `when` holds."""
    inside = False

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            inside = when(*args, **kwargs)
            try:
                return original(*args, **kwargs)
            finally:
                inside = False

        return watched

    def place(passed: Passed) -> None:
        def passed_inside() -> None:
            if inside:
                passed()

        inner(passed_inside)
        replace(outer, wrap)

    return place


def replace(target: str, make: Callable[[Any], Any]) -> None:
    """Put `make(what is there)` in the place of the target.

    Raises:
        AttributeError: it is not there.
    """
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *way, name = path.split(".")
    for step in way:
        owner = getattr(owner, step)
    setattr(owner, name, make(getattr(owner, name)))
