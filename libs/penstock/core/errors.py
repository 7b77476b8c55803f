"""The one hierarchy of errors, named by what the caller does next.

| error          | the caller                                                        |
|----------------|-------------------------------------------------------------------|
| `RetryLater`   | waits and tries the same thing again; nothing was decided          |
| `RejectInput`  | tells whoever sent the input; the same input can never succeed     |
| `DeadLetter`   | parks the record in its topic's `.dlq` and goes on                 |
| `StopProcess`  | ends the process with a clear sentence; a restart alone won't mend |
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing wrong with an input: what, where, and how to mend it.

    `path` is a JSON-path-like place (`jobs.test.needs[1]`), `line` and `column` count from 1 and are absent
    where the input has no lines (a JSON object that came parsed).
    """

    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        place = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{place}{self.message}{hint}"


class PenstockError(Exception):
    """Base of every error that Penstock raises on purpose."""


class RetryLater(PenstockError):
    """A server is away or busy: nothing was decided, try the same thing again."""

    def __init__(self, message: str, *, component: str = "") -> None:
        super().__init__(message)
        self.component = component
        """Which server is away: `kafka`, `postgres`, `s3`, `gateway`; empty when unknown."""


class RejectInput(PenstockError):
    """The input is wrong and stays wrong: answer with its problems, never try it again."""

    def __init__(self, problems: Sequence[Problem] | Problem, *, reason: str = "invalid") -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.reason = reason
        """The reason of protocol §7 under which the input is refused."""
        super().__init__("; ".join(str(problem) for problem in self.problems))


class DeadLetter(PenstockError):
    """A record that no consumer can handle: park it with this reason and go on with the partition."""


class StopProcess(PenstockError):
    """The process cannot do its work as configured: end it and say why."""
