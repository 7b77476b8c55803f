"""What the commands of operators share: who does it, and numbers that may be `none`.

They write to Postgres, as whoever may reach it. Their news is left in the outbox: the relay publishes it
within two seconds, and dispatchers also read what was said at every sweep.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import click

HEEDED_SECONDS: Final = 8.0
"""By then every dispatcher has heard of it."""
EVERYBODY: Final = "*"

F = TypeVar("F", bound=Callable[..., Any])


class Most(NamedTuple):
    """A bound; None: there is none."""

    bound: int | None


class MostType(click.ParamType):
    """A number from 0 on, or `none`."""

    name = "N|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Most:
        """What was written, as a bound."""
        text = str(value).strip().lower()
        if text == "none":
            return Most(None)
        if not text.isdecimal() or int(text) >= 2**31:
            self.fail(f"{value!r} is neither a number nor `none`", param, ctx)
        return Most(int(text))


def by_option(command: F) -> F:
    """The `--by` option, given to the command as `by`."""
    text = "Who says so, shown to those who wait for it [default: USER@HOST]."
    return click.option("--by", default=operator, metavar="NAME", help=text)(command)


def operator() -> str:
    """Who runs this command: user and machine."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # an id without a name, as in many containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def actor() -> str:
    """The writer of records that this command causes."""
    return f"cli/{socket.gethostname()}-{os.getpid()}"
