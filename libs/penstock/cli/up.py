"""`penstock up` and `penstock down`."""

from __future__ import annotations

import dataclasses
import importlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from penstock.cli import exit_codes
from penstock.cli.output import json_flag, print_json
from penstock.core.errors import RetryLater
from penstock.local import folder as folders
from penstock.local import up as running
from penstock.local.folder import StackFolder
from penstock.local.jars import read_lock
from penstock.local.services import SERVICES
from penstock.local.settings import LocalSettings, cache_folder, parse_replicas
from penstock.local.stack import Stack, read_stack
from penstock.local.supervisor import Plan
from penstock.local.voice import Voice
from penstock.runtime import settings
from penstock.runtime.clock import pause

DEMO = "penstock.cli.demo:run_demo"
LOCAL_DEFAULTS = {"PENSTOCK_RETRY_BASE_SECONDS": "1"}
"""Who tries things out on one machine does not want to wait half a minute for a second try."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What was given to `penstock up`."""

    demo: bool
    keep: bool
    detach: bool
    servers_only: bool
    replicas: tuple[str, ...]
    slots: int | None
    pool: str | None
    as_json: bool

    def runner_environment(self) -> dict[str, str]:
        """Settings of the runners that were given as options."""
        given = {"PENSTOCK_SLOTS": self.slots, "PENSTOCK_POOL": self.pool}
        return {name: str(value) for name, value in given.items() if value is not None}

    def arguments(self) -> list[str]:
        """The same call without `--detach`."""
        words = ["up", *(f"--replicas={word}" for word in self.replicas)]
        words += ["--servers-only"] * self.servers_only + ["--json"] * self.as_json
        words += [f"--slots={self.slots}"] * (self.slots is not None)
        return words + [f"--pool={self.pool}"] * (self.pool is not None)


@click.command()
@click.option("--demo", is_flag=True, help="Run the demo pipelines, then stop.")
@click.option("--keep", is_flag=True, help="With --demo: leave the stack running until Ctrl-C.")
@click.option("--detach", is_flag=True, help="Return once all is ready; `penstock down` stops it.")
@click.option("--servers-only", is_flag=True, help="Kafka, Postgres and S3 alone, ready for use.")
@click.option("--replicas", multiple=True, metavar="NAME=N", help="Replicas of a service; repeatable.")
@click.option("--slots", type=click.IntRange(1, 1024), help="Jobs that one runner runs at a time.")
@click.option("--pool", help="Pool of the runners.")
@json_flag
def up(**given: Any) -> int:
    """Start Kafka, Postgres, an S3 server and all services in this folder's `.penstock/`.

    Ctrl-C stops everything in order, a second one at once. A second `up` here says how to reach the stack
    that runs (exit code 5).
    """
    options = Options(**given)
    if options.demo and (options.detach or options.servers_only):
        raise click.UsageError("--demo goes with neither --detach nor --servers-only")
    local = settings.load(LocalSettings)
    replicas = parse_replicas(options.replicas or local.local_replicas, SERVICES)
    folder = StackFolder(Path.cwd() / folders.NAME)
    if folders.is_held(folder):
        return _already_running(folder, as_json=options.as_json)
    if options.detach:
        return _detach(folder, options)
    folder.create()
    plan = Plan(
        settings=local,
        environ={**LOCAL_DEFAULTS, **settings.environment(), **options.runner_environment()},
        replicas={} if options.servers_only else replicas,
        cache=cache_folder(folder.path),
        jars=read_lock(),
    )
    voice = Voice(as_json=options.as_json)
    return running.up(folder, plan, voice, _demo(keep=options.keep) if options.demo else None)


@click.command()
@json_flag
def down(as_json: bool) -> int:
    """Stop the stack of this folder (or of a folder above), whoever started it."""
    folder = folders.find(Path.cwd())
    stopped = folder is not None and running.down(folder, Voice(as_json=as_json))
    if as_json:
        print_json({"stopped": stopped})
    elif not stopped:
        click.echo("nothing runs here")
    return exit_codes.OK


def _already_running(folder: StackFolder, *, as_json: bool) -> int:
    try:
        stack = read_stack(folder.path.parent)
    except RetryLater as error:
        click.echo(str(error), err=True)
        return exit_codes.ALREADY_RUNNING
    if as_json:
        print_json({"running": True, "stack": str(folder.stack), "gateway": stack.gateway.url})
    gateway = stack.gateway.url or "none (servers only)"
    click.echo(
        f"a stack runs in {folder.path} (pid {stack.pids['supervisor']})\n"
        f"  gateway  {gateway}\n"
        f"  kafka    {stack.kafka.bootstrap}\n"
        f"  token and credentials: {folder.stack}\n"
        "  `penstock ps` shows its processes, `penstock down` stops it",
        err=True,
    )
    return exit_codes.ALREADY_RUNNING


def _detach(folder: StackFolder, options: Options) -> int:
    """Start the supervisor as a process of its own and relay what it says until all is ready."""
    folder.create()
    log = folder.logs / "supervisor.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "penstock", *options.arguments()],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    with log.open("rb") as said:
        while True:
            code = child.poll()
            ready = _is_ready(folder, child.pid)
            sys.stdout.write(said.read().decode(errors="replace"))
            sys.stdout.flush()
            if code is not None:
                return code
            if ready:
                return exit_codes.OK
            try:
                pause(0.05)
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)


def _is_ready(folder: StackFolder, supervisor: int) -> bool:
    try:
        stack = msgspec.json.decode(folder.stack.read_bytes(), type=Stack)
    except (FileNotFoundError, msgspec.DecodeError):
        return False
    return stack.pids.get("supervisor") == supervisor


def _demo(*, keep: bool) -> running.Foreground:
    module, attribute = DEMO.split(":")
    run_demo = getattr(importlib.import_module(module), attribute)
    if not keep:
        play: running.Foreground = run_demo
        return play

    def demo_and_stay(stack: Stack) -> int:
        run_demo(stack, keep=True)
        click.echo("the stack stays up until Ctrl-C")
        while True:  # the supervisor ends this thread with the stack
            pause(3600)

    return demo_and_stay
