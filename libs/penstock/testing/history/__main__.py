"""`python -m penstock.testing.history FOLDER`: the verdict on what a run left, once more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from penstock.testing.history import load, verdict
from penstock.testing.history.report import text


def main(words: Sequence[str] | None = None) -> int:
    """Exit code 0: every invariant held."""
    parser = argparse.ArgumentParser(prog="penstock.testing.history", description=__doc__)
    parser.add_argument("folder", type=Path, help="what a run left")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    given = parser.parse_args(words)
    try:
        found = verdict(load(given.folder))
    except (OSError, msgspec.MsgspecError) as error:
        print(f"history: {given.folder} holds no whole run: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    if given.json:
        print(msgspec.json.encode(found).decode())  # noqa: T201 - a command
    else:
        print(text(found, color=sys.stdout.isatty()), end="")  # noqa: T201 - a command
    return 0 if found.held else 1


if __name__ == "__main__":
    sys.exit(main())
