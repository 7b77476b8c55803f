"""`penstock chaos worker|service|kafka|postgres`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.chaos.story import Kind, Line
from penstock.cli.chaos.victim import Victim, victims
from penstock.cli.extras import extra
from penstock.core.errors import Problem, RejectInput
from penstock.local.services import SERVICES
from penstock.local.stack import read_stack

F = TypeVar("F", bound=Callable[..., Any])
SECONDS = 180.0
"""More than the lease of an exclusive job and its grace."""


def _options(command: F) -> F:
    """Those of every kill."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, one object a line."),
        click.option(
            "--seconds", type=click.FloatRange(min=1), default=SECONDS, show_default=True,
            help="How long it may take until all is well.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


_replica = click.option(
    "--replica", type=click.IntRange(0), help="Which of them [default: the busiest, or 0]."
)


@click.group()
def chaos() -> None:
    """Kill a process of the stack that runs here, and watch the jobs come back.

    The process gets SIGKILL and is started again by its supervisor. What happens to the jobs that run, and to
    one that is asked for right after the kill, is told until all is well: exit code 0, or 1 when it is not
    within --seconds. Where nothing runs, a job to be watched is started first.
    """


@chaos.command()
@_replica
@_options
def worker(replica: int | None, seconds: float, as_json: bool) -> int:
    """Kill a runner: its jobs run again elsewhere, or in its next life."""
    return _kill("worker", "runner", replica, seconds, as_json=as_json)


@chaos.command()
@click.argument("name", type=click.Choice(SERVICES), metavar="NAME")
@_replica
@_options
def service(name: str, replica: int | None, seconds: float, as_json: bool) -> int:
    """Kill a replica of a service: intake, advancer, dispatcher, reaper, canceller, logs, gateway, runner."""
    kind: Kind = "worker" if name == "runner" else "service"
    return _kill(kind, name, replica, seconds, as_json=as_json)


@chaos.command()
@click.option("--wipe", is_flag=True, help="Its data, too: it comes back empty, as another cluster.")
@_options
def kafka(wipe: bool, seconds: float, as_json: bool) -> int:
    """Kill Kafka: what runs goes on, and Postgres keeps what Kafka does not take."""
    return _kill("kafka", "kafka", None, seconds, wipe=wipe, as_json=as_json)


@chaos.command()
@_options
def postgres(seconds: float, as_json: bool) -> int:
    """Kill Postgres: what runs goes on, and nothing that was committed is lost."""
    return _kill("postgres", "postgres", None, seconds, as_json=as_json)


def _kill(
    kind: Kind, name: str, replica: int | None, seconds: float, *, wipe: bool = False, as_json: bool
) -> int:
    with extra("services"):
        from penstock.cli.chaos.watch import Watch, is_of

    found = victims(Path.cwd(), name)
    watch = Watch(read_stack(Path.cwd()), _tell_json if as_json else _tell, seconds)
    try:
        jobs = watch.jobs([victim.replica for victim in found] if kind == "worker" else None)
        busy = {victim.replica: sum(is_of(job, victim.replica) for job in jobs) for victim in found}
        well = watch.kill(kind, _chosen(found, replica, busy, name), jobs, wipe=wipe)
    finally:
        watch.close()
    return exit_codes.OK if well else exit_codes.PIPELINE_FAILED


def _chosen(found: list[Victim], replica: int | None, busy: dict[int, int], name: str) -> Victim:
    """The one that was named; else the runner that holds most, or the first one."""
    if replica is None:
        return max(
            found, key=lambda victim: (busy[victim.replica] if name == "runner" else 0, -victim.replica)
        )
    for victim in found:
        if victim.replica == replica:
            return victim
    there = ", ".join(str(victim.replica) for victim in found)
    raise RejectInput(Problem(f"there is no {name}-{replica}", hint=f"replicas that are ready: {there}"))


def _tell(line: Line) -> None:
    bad = line.facts.get("well") is False
    colour = "red" if bad else "green" if line.facts["event"] == "end" else None
    click.echo(f"{line.seconds:6.1f} s  {click.style(line.text, fg=colour)}")


def _tell_json(line: Line) -> None:
    facts = {"seconds": round(line.seconds, 3), "text": line.text, **line.facts}
    click.echo(msgspec.json.encode(facts).decode())
