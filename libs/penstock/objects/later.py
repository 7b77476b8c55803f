"""`Objects` that load the S3 client at their first use.

The client costs about a second of CPU to load. Services that rarely need it should not pay at every
start, and those that do can load it aside, once they are ready.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from penstock.objects.ports import STREAM_BYTES, ObjectInfo
from penstock.runtime.settings import ObjectSettings

if TYPE_CHECKING:
    from penstock.objects.s3 import S3Objects


class LaterObjects:
    """A bucket on S3, connected to at the first call; see `penstock.objects.ports.Objects`."""

    def __init__(self, settings: ObjectSettings, threads: int = 16) -> None:
        self._settings = settings
        self._threads = threads

    def load(self) -> None:
        """Begin to load the client in a thread of its own."""
        threading.Thread(target=lambda: self._real, name="s3-client", daemon=True).start()

    def put(self, key: str, data: bytes, *, content_type: str, if_none_match: bool = True) -> bool:
        """See `Objects.put`."""
        return self._real.put(key, data, content_type=content_type, if_none_match=if_none_match)

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Objects.get`."""
        return self._real.get(key, span)

    def get_stream(self, key: str, chunk_bytes: int = STREAM_BYTES) -> Iterator[bytes]:
        """See `Objects.get_stream`."""
        return self._real.get_stream(key, chunk_bytes)

    def head(self, key: str) -> ObjectInfo:
        """See `Objects.head`."""
        return self._real.head(key)

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        self._real.delete(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Objects.list`."""
        return self._real.list(prefix)

    @functools.cached_property
    def _real(self) -> S3Objects:
        from penstock.objects.s3 import S3Objects

        return S3Objects(self._settings, self._threads)
