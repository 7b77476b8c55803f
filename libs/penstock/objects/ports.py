"""The port through which services store and read objects: S3 and the in-memory store both implement it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from penstock.core.errors import PenstockError

STREAM_BYTES: Final = 256 * 1024


class ObjectMissing(PenstockError):
    """There is no object under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no object {key}")
        self.key = key


class ObjectInfo(NamedTuple):
    """What is known of an object without reading it; `modified` is Unix seconds by the storage's clock."""

    key: str
    size: int
    modified: float


class Objects(Protocol):
    """A bucket. Thread-safe and blocking: asyncio calls it in threads.

    Every call raises `RetryLater` when the storage is away or busy, after the client's own quick retries, and
    `StopProcess` when it refuses the credentials or has no such bucket.
    """

    def put(self, key: str, data: bytes, *, content_type: str, if_none_match: bool = True) -> bool:
        """Store an object in one atomic request.

        False: an object was there already and stays as it is (with `if_none_match` False it is replaced).
        """
        ...

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """An object, or its bytes from `span[0]` up to, not including, `span[1]`.

        Raises:
            ObjectMissing: there is none, or it ends before `span` begins.
        """
        ...

    def get_stream(self, key: str, chunk_bytes: int = STREAM_BYTES) -> Iterator[bytes]:
        """An object in pieces, for what is too large to hold.

        Raises:
            ObjectMissing: there is none; raised by the call, before the first piece.
        """
        ...

    def head(self, key: str) -> ObjectInfo:
        """Size and age.

        Raises:
            ObjectMissing: there is none.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is fine."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects whose keys begin so, by key."""
        ...
