"""One connection to Postgres, and what its errors mean to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg import errors, sql
from psycopg.types.json import set_json_loads

from penstock.core.errors import DeadLetter, RetryLater, StopProcess

Statement = LiteralString | sql.Composed
Params = Sequence[Any] | Mapping[str, Any]

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

    def one(self, statement: Statement, params: Params = ()) -> Any:
        """The first column of the only row."""
        rows = self.rows(statement, params)
        return rows[0][0] if rows else None

    def rows(self, statement: Statement, params: Params = ()) -> list[tuple[Any, ...]]:
        """All rows. Raises RetryLater or PoisonRow."""
        for _ in range(CONFLICT_RETRIES):
            try:
                return self._run(statement, params)
            except (errors.DeadlockDetected, errors.SerializationFailure):
                continue
        raise RetryLater("postgres: the statement keeps losing against others", component="postgres")

    def answers(self) -> bool:
        """Whether the server is there now."""
        try:
            self.rows("SELECT 1")
        except RetryLater:
            return False
        return True

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, statement: Statement, params: Params) -> list[tuple[Any, ...]]:
        try:
            connection = self._connect()
            cursor = connection.execute(statement, params)
            return cursor.fetchall() if cursor.description else []
        except (errors.DeadlockDetected, errors.SerializationFailure):
            raise
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if isinstance(error, errors.CheckViolation) and not error.diag.constraint_name:
                # No partition for the id: an outage of ours, never the row's fault (protocol §10).
                raise RetryLater(f"postgres: {error}", component="postgres") from error
            raise PoisonRow(f"postgres refused a value: {error}".strip()) from error
        except psycopg.OperationalError as error:
            if (error.sqlstate or "").startswith("54"):  # a limit of Postgres itself, e.g. of an index row
                raise PoisonRow(f"postgres refused a value: {error}".strip()) from error
            self.close()
            raise RetryLater(f"postgres: {error}".strip(), component="postgres") from error
        except psycopg.ProgrammingError as error:
            hint = "is the schema up to date (`penstock migrate`), and is this the right role?"
            raise StopProcess(f"postgres: {error}".strip() + f": {hint}") from error
        except psycopg.InterfaceError as error:
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
            )
            set_json_loads(orjson.loads, self._connection)
        return self._connection


def raw_connection(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A logged-in connection whose socket a test takes over."""
    return psycopg.connect(dsn, autocommit=True)


def to_json(value: Any) -> str:
    """A JSON parameter: one text for a whole batch is the cheapest way in (facts §4.2)."""
    return orjson.dumps(value).decode()
