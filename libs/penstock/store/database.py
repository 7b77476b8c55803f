"""One connection to Postgres, and what its errors mean to the caller."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString, TypeVar

import orjson
import psycopg
from psycopg import errors, generators, pq, sql
from psycopg.types.json import set_json_loads

from penstock.core.errors import DeadLetter, RetryLater, StopProcess

Statement = LiteralString | sql.Composed
Params = Sequence[Any] | Mapping[str, Any]
Argument = bytes | str | float | bool | list[str] | list[int] | list[float] | None
"""Of a function: JSON as bytes, plain values, and lists of ids or numbers."""
_PLAIN = re.compile(r"[0-9a-f-]+").fullmatch
"""What needs no quotes in the text form of an array."""
T = TypeVar("T")

SILENT_SECONDS = 30
CONFLICT_RETRIES = 5
"""How often a statement that lost a deadlock or a serialization is run again at once."""


class PoisonRow(DeadLetter):
    """Postgres refused a value (SQLSTATE class 22, 23 or 54): a single row of the batch is at fault."""


class Database:
    """A lazily opened, re-opened connection; not thread-safe: one a thread.

    Every call is its own transaction. It raises `RetryLater` when the server is away (nothing is known of
    the outcome: all functions are idempotent by token, version or request key), and `PoisonRow` when a value
    was refused, so that the caller can bisect its batch (protocol §10). `StopProcess`: the schema or the
    role's rights are not what this program needs.
    """

    def __init__(self, dsn: str, application: str) -> None:
        self._dsn = dsn
        self._application = application
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def call(self, function: LiteralString, *arguments: Argument) -> Any:
        """What a function of the schema answers: JSON, or nothing. Raises like `rows`.

        Straight by libpq: of a transition's time between Postgres and its caller, the general way (adapt and
        convert in Python) costs more than half.
        """
        numbered = ", ".join(f"${n}" for n in range(1, len(arguments) + 1))
        command = f"SELECT {function}({numbered})".encode()
        texts = [_text(argument) for argument in arguments]
        answer: bytes | None = self._again(lambda: self._call(command, texts))
        return orjson.loads(answer) if answer else None

    def one(self, statement: Statement, params: Params = ()) -> Any:
        """The first column of the only row."""
        rows = self.rows(statement, params)
        return rows[0][0] if rows else None

    def rows(self, statement: Statement, params: Params = ()) -> list[tuple[Any, ...]]:
        """All rows. Raises RetryLater or PoisonRow."""
        return self._again(lambda: self._run(statement, params))

    def answers(self) -> bool:
        """Whether the server is there now, and takes writes."""
        try:
            return bool(self.one("SELECT current_setting('transaction_read_only') = 'off'"))
        except RetryLater:
            return False

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _again(self, act: Callable[[], T]) -> T:
        for _ in range(CONFLICT_RETRIES):
            try:
                return self._translated(act)
            except (errors.DeadlockDetected, errors.SerializationFailure):
                continue
        raise RetryLater("postgres: the statement keeps losing against others", component="postgres")

    def _run(self, statement: Statement, params: Params) -> list[tuple[Any, ...]]:
        cursor = self._connect().execute(statement, params)
        return cursor.fetchall() if cursor.description else []

    def _call(self, command: bytes, texts: Sequence[bytes | None]) -> bytes | None:
        connection = self._connect()
        pgconn = connection.pgconn
        pgconn.send_query_params(command, texts)
        # Not PQexecParams: no signal would be handled until it returns.
        results: list[pq.abc.PGresult] = connection.wait(generators.execute(pgconn))
        (result,) = results
        if result.status == pq.ExecStatus.TUPLES_OK:
            return result.get_value(0, 0)
        if pgconn.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(pgconn.get_error_message())
        raise psycopg.errors.error_from_result(result)

    def _translated(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if isinstance(error, errors.CheckViolation) and not error.diag.constraint_name:
                # No partition for the id: an outage of ours, never the row's fault (protocol §10).
                raise RetryLater(f"postgres: {error}", component="postgres") from error
            raise _poison(error) from error
        except errors.CardinalityViolation as error:  # a row twice where it may stand once
            raise _poison(error) from error
        except psycopg.ProgrammingError as error:
            hint = "is the schema up to date (`penstock migrate`), and is this the right role?"
            raise StopProcess(f"postgres: {error}".strip() + f": {hint}") from error
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith("54"):  # a limit of Postgres itself, e.g. of an index row
                raise _poison(error) from error
            # Away, read-only for now (25006: a demoted primary), or a fault of its own: never a row's.
            self.close()
            raise RetryLater(f"postgres: {error}".strip(), component="postgres") from error

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                prepare_threshold=None,
                application_name=self._application,
                connect_timeout=5,
                # A server that vanished is noticed; the kernel would wait for a quarter of an hour.
                tcp_user_timeout=SILENT_SECONDS * 1000,
                keepalives_idle=SILENT_SECONDS // 3,
                keepalives_interval=SILENT_SECONDS // 3,
                keepalives_count=2,
            )
            set_json_loads(orjson.loads, self._connection)
        return self._connection


def raw_connection(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A logged-in connection whose socket a test takes over."""
    return psycopg.connect(dsn, autocommit=True)


def _poison(error: psycopg.Error) -> PoisonRow:
    """Without the statement and the row, which are nobody's business but ours."""
    return PoisonRow(f"postgres refused a value: {error.diag.message_primary or error}")


def to_json(value: Any) -> bytes:
    """A JSON argument of `Database.call`: one text for a whole batch is the cheapest way in (facts §4.2)."""
    return orjson.dumps(value)


def _text(argument: Argument) -> bytes | None:
    """Postgres' text form."""
    match argument:
        case None | bytes():
            return argument
        case list():
            if not all(isinstance(one, int | float) or _PLAIN(one) for one in argument):
                raise PoisonRow("postgres refuses an id that is none")
            return b"{%b}" % ",".join(map(str, argument)).encode()
        case str() if "\0" in argument:  # libpq would cut it off there
            raise PoisonRow("postgres refuses U+0000 in a text")
        case _:
            return str(argument).encode()
