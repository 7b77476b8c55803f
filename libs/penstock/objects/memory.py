"""An in-memory `Objects` for tests and simulation; one contract suite runs against it and a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from penstock.core.errors import RetryLater
from penstock.objects.ports import STREAM_BYTES, ObjectInfo, ObjectMissing
from penstock.runtime.clock import Clock, SystemClock


class MemoryObjects:
    """A bucket in this process."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._stored: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self.away = False
        """While true every call fails, as with no server in reach."""

    def put(self, key: str, data: bytes, *, content_type: str, if_none_match: bool = True) -> bool:
        """See `Objects.put`; the content type is not kept."""
        del content_type
        with self._lock:
            self._answer()
            if if_none_match and key in self._stored:
                return False
            self._stored[key] = (bytes(data), self._clock.now())
            return True

    def get(self, key: str, span: tuple[int, int] | None = None) -> bytes:
        """See `Objects.get`."""
        data, _ = self._find(key)
        if span is None:
            return data
        if span[0] >= len(data):
            raise ObjectMissing(key)
        return data[span[0] : span[1]]

    def get_stream(self, key: str, chunk_bytes: int = STREAM_BYTES) -> Iterator[bytes]:
        """See `Objects.get_stream`."""
        data, _ = self._find(key)
        return (data[start : start + chunk_bytes] for start in range(0, len(data), chunk_bytes))

    def head(self, key: str) -> ObjectInfo:
        """See `Objects.head`."""
        data, modified = self._find(key)
        return ObjectInfo(key, len(data), modified)

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        with self._lock:
            self._answer()
            self._stored.pop(key, None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Objects.list`."""
        with self._lock:
            self._answer()
            kept = sorted(item for item in self._stored.items() if item[0].startswith(prefix))
        return (ObjectInfo(key, len(data), modified) for key, (data, modified) in kept)

    def _find(self, key: str) -> tuple[bytes, float]:
        with self._lock:
            self._answer()
            if key not in self._stored:
                raise ObjectMissing(key)
            return self._stored[key]

    def _answer(self) -> None:
        if self.away:
            raise RetryLater("the object storage is away", component="s3")
