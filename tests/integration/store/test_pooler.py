"""The pooler of the tests is one: it breaks what a transaction pooler breaks."""

from __future__ import annotations

from penstock.store.database import Database


def test_every_transaction_has_another_server_connection(pooled_dsn: str) -> None:
    db = Database(pooled_dsn, "test")
    assert len({db.one("SELECT pg_backend_pid()") for _ in range(6)}) == 3
    db.rows("SET application_name = 'mine'")
    assert "mine" not in {db.one("SHOW application_name") for _ in range(2)}
    db.close()
