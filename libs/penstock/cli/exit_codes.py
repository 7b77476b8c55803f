"""Exit codes of every command, in one place; `docs/` and `--help` quote them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
PIPELINE_FAILED: Final = 1
"""The command worked; the pipeline it followed did not end in SUCCESS, or a check found something."""
USAGE: Final = 2
"""A wrong option, or an input that was rejected: the same call can never succeed."""
RETRY_LATER: Final = 3
"""A server or the network is away: the same call may succeed later."""
CONFIGURATION: Final = 4
"""The machine or the installation cannot do it as it is: the message says what to change."""
ALREADY_RUNNING: Final = 5
"""`up`: a stack runs in this folder already; the message says how to reach it."""
INTERNAL: Final = 70
"""A fault of Penstock itself."""
INTERRUPTED: Final = 130
"""Ctrl-C."""

MEANINGS: Final = {
    OK: "done",
    PIPELINE_FAILED: "the pipeline did not succeed, or a check found something",
    USAGE: "wrong usage or rejected input",
    RETRY_LATER: "a server is away: try again later",
    CONFIGURATION: "the machine or the configuration must change first",
    ALREADY_RUNNING: "a stack runs in this folder already",
    INTERNAL: "a fault of Penstock: please report it",
    INTERRUPTED: "interrupted",
}
