"""`penstock run` and `penstock submit`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.checkout import current_commit
from penstock.cli.follow import Follow, Logs, Screen
from penstock.cli.gateway import connect, url_option
from penstock.cli.lint import ProblemsInFile, report
from penstock.cli.output import json_flag, print_json
from penstock.cli.pipeline_file import PipelineFile, read_pipeline_file
from penstock.cli.plain import JsonScreen, PlainScreen
from penstock.cli.view import PipelineView
from penstock.client import Client, Patience, Refused
from penstock.client.records import Receipt
from penstock.core.errors import Problem, RejectInput, RetryLater
from penstock.core.ids import uuid4
from penstock.core.lanes import LANES
from penstock.runtime.clock import SystemClock

F = TypeVar("F", bound=Callable[..., Any])

SUBMIT_SECONDS: Final = 15.0
"""How long a gateway that does not answer is asked; its URL may be wrong, too."""
ACCEPTANCE_SECONDS: Final = 60.0
"""How long to wait until a pipeline that was only received has an id."""


def request_options(command: F) -> F:
    """FILE and the options of `run` and `submit` that say what is asked for."""
    for option in reversed(
        (
            click.argument("file"),
            click.option("--input", "inputs", multiple=True, metavar="K=V", help="An input; repeatable."),
            click.option("--tenant", help="The tenant; it must be that of the token."),
            click.option("--priority", help=f"{', '.join(LANES)}, or 1 to 10."),
            click.option(
                "--git", "with_git", is_flag=True, help="Run it for the commit that is checked out here."
            ),
            click.option("--key", default="", help="Idempotency key: the same key is the same pipeline."),
            url_option,
            json_flag,
        )
    ):
        command = option(command)
    return command


@click.command()
@request_options
@click.option("--logs/--no-logs", default=True, help="Show all output, or only the tail of what fails.")
def run(file: str, url: str, as_json: bool, logs: bool, **asked: Any) -> int:
    """Run the pipeline in FILE and follow it to its end.

    Exit code 0 only on SUCCESS, 1 when it FAILED or was CANCELLED, 2 when it was rejected. Ctrl-C offers to
    cancel it (without a terminal it cancels); a second one leaves at once and leaves the pipeline alone.
    """
    pipeline_file = _checked(file, as_json=as_json)
    client = connect(url)
    receipt = _submit(client, pipeline_file, asked, as_json=as_json)
    pipeline_id = accepted(client, receipt)
    which: Logs = "all" if logs else "none" if as_json else "failed"
    screen = screen_for(as_json=as_json, logs=logs)
    follow = Follow(client, pipeline_id, screen, SystemClock(), logs=which)
    ask = not as_json and sys.stdin.isatty() and sys.stdout.isatty()
    view = _watch(client, follow, screen, ask=ask)
    if view.state == "REJECTED" and not as_json:
        report(pipeline_file, msgspec.convert(view.errors, list[Problem]))
    return exit_code(view)


@click.command()
@request_options
def submit(file: str, url: str, as_json: bool, **asked: Any) -> int:
    """Submit the pipeline in FILE and print its id; `penstock show` tells what becomes of it."""
    pipeline_file = _checked(file, as_json=as_json)
    receipt = _submit(connect(url), pipeline_file, asked, as_json=as_json)
    if as_json:
        print_json(receipt)
    elif "pipeline_id" in receipt:
        click.echo(receipt["pipeline_id"])
    else:
        click.echo(f"received as request {receipt['request_id']}; it has no id yet", err=True)
    return exit_codes.OK


def exit_code(view: PipelineView) -> int:
    """What a pipeline's end means to a script."""
    codes = {"SUCCESS": exit_codes.OK, "REJECTED": exit_codes.USAGE}
    return codes.get(view.state, exit_codes.PIPELINE_FAILED)


def _checked(file: str, *, as_json: bool) -> PipelineFile:
    """The file, found good: most mistakes need no gateway."""
    found = read_pipeline_file(file)
    try:
        found.check()
    except RejectInput as error:
        raise _refusal(found, error, as_json=as_json) from None
    return found


def _submit(client: Client, file: PipelineFile, asked: Mapping[str, Any], *, as_json: bool) -> Receipt:
    """Ask for it; repeated under one key while the gateway is away."""
    priority = asked["priority"]
    request = {
        "inputs": _inputs(asked["inputs"]) or None,
        "tenant": asked["tenant"],
        "priority": int(priority) if priority and priority.isdecimal() else priority,
        "trigger": "manual",
        "git": current_commit() if asked["with_git"] else None,
        **file.fields(),
    }
    key = asked["key"] or uuid4()
    patience = Patience(SUBMIT_SECONDS, tell=lambda text: click.echo(text, err=True))
    try:
        return patience.call(lambda: client.submit(key, **request))
    except Refused as error:
        if error.status == 422:
            raise _refusal(file, error, as_json=as_json) from None
        raise


def _refusal(file: PipelineFile, error: RejectInput, *, as_json: bool) -> Exception:
    """What to raise for problems of the file: for people they are shown with their lines."""
    return error if as_json else ProblemsInFile(file, error.problems)


def _inputs(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not K=V", param_hint="--input")
        found[name] = value
    return found


def accepted(client: Client, receipt: Receipt) -> str:
    """The id of the pipeline; waits where it was received while Postgres was away."""
    if "pipeline_id" in receipt:
        return receipt["pipeline_id"]
    click.echo("received; waiting until it is accepted", err=True)

    def found() -> str:
        request = client.request(receipt["request_id"])
        if request["state"] == "RECEIVED":
            raise RetryLater(f"request {receipt['request_id']} is received and not yet accepted")
        return str(request["pipeline_id"])

    return Patience(ACCEPTANCE_SECONDS).call(found)


def screen_for(*, as_json: bool = False, logs: bool = True) -> Screen:
    """The screen that suits where standard output goes."""
    if as_json:
        return JsonScreen()
    if not sys.stdout.isatty():
        return PlainScreen()
    from rich.console import Console

    from penstock.cli.tree import TreeScreen

    return TreeScreen(Console(highlight=False), logs=logs)


def _watch(client: Client, follow: Follow, screen: Screen, *, ask: bool) -> PipelineView:
    """Follow to the end; the first Ctrl-C may cancel (when there is somebody to ask), the second leaves."""
    pipeline_id = follow.view.pipeline_id
    try:
        try:
            return follow.run()
        except KeyboardInterrupt:
            screen.pause()
            if ask:
                click.echo()
                if not click.confirm("Cancel the pipeline? (n: leave it running)", default=True):
                    raise
            _cancel(client, pipeline_id, screen)
            return follow.run()
    except (KeyboardInterrupt, click.Abort):
        follow.leave()
        screen.pause()
        click.echo(f"left; `penstock show {pipeline_id}` tells what becomes of it", err=True)
        sys.exit(exit_codes.INTERRUPTED)
    except RetryLater as error:
        screen.pause()
        left = f"the pipeline goes on without us: `penstock show {pipeline_id}` tells what becomes of it"
        raise RetryLater(f"{error}; {left}", component=error.component) from None


def _cancel(client: Client, pipeline_id: str, screen: Screen) -> None:
    screen.note("cancelling; Ctrl-C once more leaves at once")
    try:
        client.cancel_pipeline(pipeline_id, "Ctrl-C")
    except Refused as error:
        if error.status != 409:  # it has ended meanwhile
            raise
