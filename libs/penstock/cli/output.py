"""What all commands share to print: the `--json` flag, JSON, tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
import msgspec

UNLIMITED = 10_000
"""Columns of what is no terminal."""

SURROGATE: Final = re.compile("[\udc80-\udcff]")
"""What Python makes of a byte of an argument that is not UTF-8."""

F = TypeVar("F", bound=Callable[..., Any])


def json_flag(command: F) -> F:
    """The `--json` flag, given to the command as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def print_json(value: object) -> None:
    """One JSON document: indented for a terminal's reader, the same for programs."""
    click.echo(msgspec.json.format(json_bytes(value), indent=2))


def json_bytes(value: object) -> bytes:
    r"""JSON of this. Names that are not UTF-8 are in it as the terminal shows them: `caf\udce9`."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text).encode()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table without borders; text is printed as it is, never read as markup.

    Only the last column is folded where a line is too long; where no terminal sets a width nothing is.
    """
    # Imported here: a service's process starts through this package and prints no table.
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=at < len(columns) - 1)
    for row in rows:
        table.add_row(*(Console().render_str(str(cell), markup=False, highlight=False) for cell in row))
    width = None if Console().is_terminal else UNLIMITED
    Console(width=width).print(table)


def megabytes(size: int) -> str:
    """Bytes as MB for people."""
    return f"{size / 1e6:.0f} MB"
