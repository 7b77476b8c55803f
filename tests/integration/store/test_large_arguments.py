from __future__ import annotations

from penstock.store.database import Database


def test_an_argument_larger_than_the_sockets_buffers_is_sent_whole(db: Database) -> None:
    size = 20_000_000
    assert db.call("length", b"x" * size) == size
