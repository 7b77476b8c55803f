"""The `penstock` command: a table of commands, each imported only when it is called.

Add a command by a line in `COMMANDS`; a base install (the runner's) then still starts, as nothing that it
lacks is imported. Errors become sentences and exit codes in `errors`.
"""

from __future__ import annotations

import difflib
import importlib
import io
import sys
from typing import Any, Final

import click

from penstock.cli.errors import guarded
from penstock.cli.exit_codes import MEANINGS

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    # name: (module:attribute, one line for --help)
    "up": ("penstock.cli.up:up", "Start the local stack and all services."),
    "down": ("penstock.cli.up:down", "Stop the stack of this folder."),
    "ps": ("penstock.cli.ps:ps", "Show the processes of the running stack."),
    "run": ("penstock.cli.run:run", "Run a pipeline file and follow it to its end."),
    "submit": ("penstock.cli.run:submit", "Submit a pipeline file and print the pipeline's id."),
    "lint": ("penstock.cli.lint:lint", "Check pipeline files."),
    "ls": ("penstock.cli.ls:ls", "List pipelines, the newest first."),
    "show": ("penstock.cli.show:show", "Show a pipeline and its jobs."),
    "logs": ("penstock.cli.logs:logs", "Print or follow the log of a job."),
    "cancel": ("penstock.cli.cancel:cancel", "Cancel a pipeline or a job."),
    "explain": ("penstock.cli.explain:explain", "Say why a job waits, or is in its state."),
    "promote": ("penstock.cli.explain:promote", "Raise the lane of a job."),
    "rerun": ("penstock.cli.rerun:rerun", "Run an ended pipeline again, or what of it failed."),
    "chaos": (
        "penstock.cli.chaos:chaos",
        "Kill a process of the stack and watch the jobs come back.",
    ),
    "fetch": ("penstock.cli.fetch:fetch", "Bring the servers' jars into the cache, or carry them."),
    "doctor": ("penstock.cli.doctor:doctor", "Check this machine and the running stack."),
    "service": ("penstock.cli.service:service", "Run one process of a service."),
    "migrate": ("penstock.cli.migrate:migrate", "Bring the database's schema up to date."),
    "dlq": ("penstock.cli.dlq:dlq", "See, send again or drop records that no service could handle."),
    "status": ("penstock.cli.status:status", "Publish status records again."),
    "tenant": ("penstock.cli.tenant:tenant", "List tenants and make new ones."),
    "token": ("penstock.cli.token:token", "Make, list and revoke tokens."),
    "quota": ("penstock.cli.quota:quota", "Say what tenants may have of pools."),
    "limit": ("penstock.cli.limit:limit", "Bound how many jobs start in a second."),
    "pool": ("penstock.cli.pool:pool", "List pools, pause and resume them."),
    "runner": ("penstock.cli.runner:runner", "Run one more runner; list, drain, quarantine and resume them."),
    "topics": ("penstock.cli.topics:topics", "Create the topics, or compare them with the cluster."),
}
# \b keeps click from filling the lines.
EPILOG: Final = "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {text}" for code, text in MEANINGS.items())


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it by name
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown name gets the nearest known one."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if args[0] not in COMMANDS and not args[0].startswith("-") and near:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, with errors as sentences on stderr and the exit codes of `exit_codes`."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names and logs have letters that a terminal may lack
                stream.reconfigure(errors="backslashreplace")
        return guarded(super().main, *args, **kwargs)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="penstock", prog_name="penstock")
def main() -> None:
    """Penstock: pipelines from events. Kafka carries hints, Postgres is the truth, S3 keeps the logs."""
