"""`penstock dlq ls|show`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import click

from penstock.cli import exit_codes
from penstock.cli.ansi import printable
from penstock.cli.extras import extra
from penstock.cli.output import json_flag, print_json, print_table
from penstock.cli.target import target_settings
from penstock.core.errors import Problem, RejectInput
from penstock.events.topics import DLQ_SUFFIX, TOPICS, dlq_of
from penstock.runtime.settings import KafkaSettings

if TYPE_CHECKING:
    from penstock.kafka.records import Record

PREFIX = "penstock."
VALUE_CHARACTERS = 200


@click.group()
def dlq() -> None:
    """See the records that no service could handle."""


@dlq.command()
@json_flag
def ls(as_json: bool) -> int:
    """List the dead-letter topics with how many records lie in each."""
    with extra("services"):
        from penstock.kafka.dlq import dlq_depths

    depths = dlq_depths(target_settings(KafkaSettings))
    if as_json:
        print_json({"topics": [{"topic": topic, "records": count} for topic, count in depths.items()]})
    else:
        print_table(("topic", "records"), list(depths.items()))
    return exit_codes.OK


@dlq.command()
@click.argument("topic")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
@json_flag
def show(topic: str, limit: int, as_json: bool) -> int:
    """Show the newest records of a dead-letter TOPIC, oldest first: why they are there, and whence they came.

    The prefix `penstock.` and the suffix `.dlq` may be left out. In keys and values, bytes that are not UTF-8
    are shown as backslash, x and two hex digits.
    """
    with extra("services"):
        from penstock.kafka.dlq import read_dlq

    name = topic_name(topic)
    records = [_told(record) for record in read_dlq(target_settings(KafkaSettings), name, limit)]
    if as_json:
        print_json({"topic": name, "records": records})
        return exit_codes.OK
    for record in records:
        origin = f"{record['topic']}[{record['partition']}] offset {record['offset']}"
        click.secho(f"{record['at']} {origin}", bold=True)
        click.echo(f"  why    {printable(record['reason'])}")
        click.echo(f"  key    {printable(record['key'] or '')}")
        click.echo(f"  value  {_short(record['value'] or '')}")
    if not records:
        click.echo(f"{name} is empty", err=True)
    return exit_codes.OK


def topic_name(text: str) -> str:
    """The full name of a dead-letter topic. Raises RejectInput when there is no such."""
    known = [topic.name for topic in TOPICS if topic.dlq]
    name = text.removeprefix(PREFIX).removesuffix(DLQ_SUFFIX)
    if PREFIX + name in known:
        return dlq_of(PREFIX + name)
    short = [one.removeprefix(PREFIX) for one in known]
    near = difflib.get_close_matches(name, short, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise RejectInput(Problem(f"{text!r} has no dead letters", hint=f"{meant}there are {', '.join(short)}"))


def _told(record: Record) -> dict[str, Any]:
    """{reason, error, topic, partition, offset, at, key, value, headers}."""
    from penstock.kafka.dlq import PREFIX as OWN
    from penstock.kafka.dlq import origin

    headers = {name: _text(value) for name, value in record.headers or () if not name.startswith(OWN)}
    return {
        **origin(record)._asdict(),
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": headers,
    }


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def _short(text: str) -> str:
    cut = text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}… ({len(text):,} characters)"
    return printable(cut.replace("\n", " "))
