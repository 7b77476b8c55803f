"""`penstock dlq ls|show|replay|drop`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    from penstock.kafka.dlq import DeadLetters
    from penstock.kafka.producer import Producer
    from penstock.kafka.records import Record

PREFIX = "penstock."
VALUE_CHARACTERS = 200


@click.group()
def dlq() -> None:
    """See the records that no service could handle, send them again, or drop them."""


@dlq.command()
@json_flag
def ls(as_json: bool) -> int:
    """List the dead-letter topics with how many records lie in each."""
    with extra("services"):
        from penstock.kafka.dlq import READ_SECONDS, DlqCounter

    depths = DlqCounter(target_settings(KafkaSettings)).depths(READ_SECONDS)
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
        from penstock.kafka.dlq import DeadLetters

    name = topic_name(topic)
    with DeadLetters(target_settings(KafkaSettings), name) as letters:
        records = [_told(record) for record in letters.read(letters.ids[-limit:])]
    if as_json:
        print_json({"topic": name, "records": records})
        return exit_codes.OK
    for record in records:
        origin = f"{record['topic']}[{record['partition']}] offset {record['offset']}"
        click.secho(f"{record['id']}  {record['at']} {origin}", bold=True)
        click.echo(f"  why    {printable(record['reason'])}")
        if record["replays"]:
            click.echo(f"  again  sent to its topic {record['replays']} times, and came back")
        click.echo(f"  key    {printable(record['key'] or '')}")
        click.echo(f"  value  {_short(record['value'] or '')}")
    if not records:
        click.echo(f"{name} is empty", err=True)
    return exit_codes.OK


@dlq.command()
@click.argument("topic")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(0))
@click.option("--all", "everything", is_flag=True, help="All records of the topic.")
@json_flag
def replay(topic: str, ids: tuple[int, ...], everything: bool, as_json: bool) -> int:
    """Send records of a dead-letter TOPIC again to where they came from, and forget them here.

    An ID is a record's number in `penstock dlq show`. Key, value and headers are the original ones; services
    take a record twice as once. What fails again comes back, with its count of replays one higher.
    """
    with _opened(topic, ids, everything=everything) as (letters, sender, chosen):
        count = letters.replay(sender, chosen)
    return _done("replayed", topic_name(topic), count, as_json=as_json)


@dlq.command()
@click.argument("topic")
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(0))
@click.option("--all", "everything", is_flag=True, help="All records of the topic.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_flag
def drop(topic: str, ids: tuple[int, ...], everything: bool, yes: bool, as_json: bool) -> int:
    """Forget records of a dead-letter TOPIC for good. Older ones that stay get new numbers."""
    with _opened(topic, ids, everything=everything) as (letters, sender, chosen):
        if chosen and not yes:
            _ask(f"forget {_counted(len(chosen))} of {topic_name(topic)} for good?")
        count = letters.drop(sender, chosen)
    return _done("dropped", topic_name(topic), count, as_json=as_json)


@contextmanager
def _opened(
    topic: str, ids: Sequence[int], *, everything: bool
) -> Iterator[tuple[DeadLetters, Producer, Sequence[int]]]:
    """The letters of a topic, a way to write, and the ids that are meant."""
    if bool(ids) == everything:
        raise click.UsageError("name the numbers of records (see `penstock dlq show`), or --all")
    with extra("services"):
        from penstock.kafka.dlq import DeadLetters
        from penstock.kafka.producer import Producer

    settings = target_settings(KafkaSettings)
    with DeadLetters(settings, topic_name(topic)) as letters:
        chosen = letters.chosen(ids)
        with Producer(settings, "penstock-dlq") as sender:
            yield letters, sender, chosen


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask: say --yes")
    click.confirm(question, abort=True, err=True)


def _done(verb: str, topic: str, count: int, *, as_json: bool) -> int:
    if as_json:
        print_json({"topic": topic, verb: count})
    else:
        click.echo(f"{verb} {_counted(count)} of {topic}")
    return exit_codes.OK


def _counted(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"


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
    """{id, reason, error, topic, partition, offset, at, replays, key, value, headers}."""
    from penstock.kafka.dlq import PREFIX as OWN
    from penstock.kafka.dlq import origin

    headers = {name: _text(value) for name, value in record.headers or () if not name.startswith(OWN)}
    return {
        "id": record.offset,
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
