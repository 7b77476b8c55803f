"""The demo: three pipelines of real jobs on a running stack, shown as they run, with their ends checked.

| module     | holds                                                                               |
|------------|-------------------------------------------------------------------------------------|
| `*.yml`    | the pipelines; they need a shell and a Python, no network                            |
| `acts`     | what each of them shows, and how it is expected to end                               |
| `audience` | the screen on which they are shown: it checks logs, measures, cancels                |
| `measures` | latencies out of status records and log lines; pure                                  |
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib import resources
from pathlib import Path
from typing import Final

import click

from penstock.cli import exit_codes
from penstock.cli.demo.acts import ACTS, Act
from penstock.cli.demo.audience import Audience
from penstock.cli.demo.measures import Measures
from penstock.cli.follow import Follow
from penstock.cli.run import accepted, screen_for
from penstock.cli.view import PipelineView
from penstock.cli.words import span
from penstock.client import Client, Patience
from penstock.local.stack import Stack
from penstock.runtime.clock import SystemClock
from penstock.runtime.settings import variable

FILES: Final = resources.files(__name__)


def run_demo(stack: Stack, *, keep: bool = False) -> int:
    """Play all acts on the stack; exit code 0 if each ended as expected, else 1. `keep`: the stack stays up.

    Raises:
        StopProcess: an act takes far too long.
        RetryLater: the gateway stays away.
    """
    clock = SystemClock()
    began = clock.monotonic()
    client = Client(stack.gateway.url, stack.token)
    measures = Measures()
    shown: dict[str, PipelineView] = {}
    faults: list[str] = []
    for act in ACTS:
        _say(f"\n{act.title}", bold=True)
        audience = Audience(act, client, clock, measures, screen_for())
        shown[act.file] = view = _play(act, client, clock, audience)
        found = [*act.faults(view), *audience.faults]
        faults += [f"{view.name}: {fault}" for fault in found]
        _say(f"as expected: {act.moral}" if not found else "not as expected", fg="red" if found else "green")
    _say("\nLatencies seen", bold=True)
    _print_table(measures)
    for fault in faults:
        _say(fault, fg="red")
    verdict = f"{len(faults)} things are not as expected" if faults else "all is as expected"
    _say(f"\n{verdict}; the demo took {span(clock.monotonic() - began)}", bold=True)
    _say_next(shown, keep=keep)
    return exit_codes.PIPELINE_FAILED if faults else exit_codes.OK


def _play(act: Act, client: Client, clock: SystemClock, audience: Audience) -> PipelineView:
    definition = (FILES / act.file).read_text(encoding="utf-8")
    # Jobs find the Python that runs the demo, wherever it is installed.
    path = f"{Path(sys.executable).parent}{os.pathsep}{variable('PATH', os.defpath)}"
    audience.submitted_at = clock.now()
    key = f"demo-{os.urandom(8).hex()}"
    receipt = Patience(clock=clock).call(
        lambda: client.submit(key, definition_yaml=definition, env={"PATH": path}, trigger="manual")
    )
    return Follow(client, accepted(client, receipt), audience, clock).run()


def _print_table(measures: Measures) -> None:
    _say(f"  {'':34} {'seen':>5} {'p50':>9} {'max':>9}")
    for title, seconds in measures.table():
        if seconds:
            p50, most = seconds[len(seconds) // 2], seconds[-1]
            _say(f"  {title:34} {len(seconds):5} {p50 * 1000:6.0f} ms {most * 1000:6.0f} ms")


def _say_next(shown: dict[str, PipelineView], *, keep: bool) -> None:
    program, failed = _program(), shown["failure.yml"].pipeline_id
    rows = [
        (f"{program} run {_example()}", "run a pipeline and follow it"),
        (f"{program} show {failed}", "what became of the one that failed"),
        (f"{program} logs {failed}/integration", "and why"),
    ]
    if not keep:
        rows.insert(0, (f"{program} up", "start the stack again; it still knows these pipelines. Then:"))
    _say("\nWhat to try next, in another terminal" if keep else "\nWhat to try next")
    for command, about in rows:
        _say(f"  {click.style(command, fg='cyan')}\n      {about}")


def _program() -> str:
    """How this program is called from here: by its path where another one, or none, would be found."""
    own = Path(sys.executable).with_name("penstock")
    found = shutil.which("penstock")
    return "penstock" if found and own.exists() and own.samefile(found) else _short(own)


def _example() -> str:
    hello = Path("examples/hello.yml")
    return str(hello) if hello.exists() else _short(FILES / "fan_out.yml")


def _short(path: object) -> str:
    return min(str(path), os.path.relpath(str(path)), key=len)


def _say(text: str, **style: object) -> None:
    click.secho(text, **style)  # type: ignore[arg-type]  # click types each style apart
