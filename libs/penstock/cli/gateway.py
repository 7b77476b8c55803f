"""Which gateway a command talks to, and with which token."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from penstock.client import Client
from penstock.core.errors import RetryLater, StopProcess
from penstock.runtime.settings import load, setting

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class DoorSettings:
    """What the commands of users read from the environment."""

    url: str = setting(
        "", doc="URL of the gateway, or of several with commas between; empty: of the stack that runs here."
    )
    token: str = setting("", doc="Bearer token; empty: that of the stack that runs here.", secret=True)


def url_option(command: F) -> F:
    """The `--url` option, given to the command as `url`."""
    text = "URL of the gateway, with its token in PENSTOCK_TOKEN [default: PENSTOCK_URL, or the stack here]."
    return click.option("--url", default="", metavar="URL", help=text)(command)


def connect(url: str) -> Client:
    """A client of the gateway that was named, else of the stack that runs in this folder or above it.

    The stack's token is never sent to another gateway.

    Raises:
        RetryLater: none is named and no stack runs here.
        StopProcess: there is no token for it, or the stack has no gateway.
        RejectInput: the URL is none.
    """
    door = load(DoorSettings)
    url = url or door.url
    if url and door.token:
        return Client(url, door.token)
    stack_url, stack_token = _of_stack(needed=not url)
    if not url:
        return Client(stack_url, door.token or stack_token)
    client = Client(url, stack_token)
    if client.url != stack_url:
        raise StopProcess(f"there is no token for {url}: set PENSTOCK_TOKEN or PENSTOCK_TOKEN_FILE")
    return client


def _of_stack(*, needed: bool) -> tuple[str, str]:
    """URL and token of the stack that runs here; both empty when there is none and it is not needed."""
    from penstock.local.stack import read_stack

    try:
        stack = read_stack(Path.cwd())
    except RetryLater as error:
        if needed:
            raise RetryLater(f"{error}, or name a gateway by --url or PENSTOCK_URL") from None
        return "", ""
    if needed and not stack.gateway.url:
        raise StopProcess("the stack that runs here has no gateway (it was started with --servers-only)")
    return stack.gateway.url, stack.token
