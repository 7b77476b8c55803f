"""Text of strangers on our terminal: colours pass, everything else that could move or change it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

RESET: Final = "\x1b[0m"

_SEQUENCE: Final = re.compile(
    r"(?P<sgr>\x1b\[[0-9;:]*m)"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: cursor, erase, modes
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # all other escapes
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # controls but for TAB, LF
)
_SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_ENDS_RESET: Final = re.compile(r"\x1b\[0*m")


def printable(text: str) -> str:
    """One line of output as lines that are safe to print, with its colours.

    A carriage return ends a line: what a progress bar wrote over is shown above what it wrote last. Colours
    that are left on are switched off at the end.
    """
    text = text.rstrip("\r")
    if text.isprintable():
        return text
    text = _SEQUENCE.sub(_kept, text.replace("\r", "\n"))
    codes = _SGR.findall(text)
    return text + RESET if codes and not _ENDS_RESET.fullmatch(codes[-1]) else text


def last_line(text: str) -> str:
    """Of a line of output what a terminal would show last."""
    return printable(text).rsplit("\n", 1)[-1]


def without_colours(text: str) -> str:
    """Printable text without its colours."""
    return _SGR.sub("", text)


_kept: Final[Callable[[re.Match[str]], str]] = lambda match: match["sgr"] or ""  # noqa: E731
