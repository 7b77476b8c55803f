"""The three doors, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from penstock.testing.chaos.proxy.http import ObjectsDoor
from penstock.testing.chaos.proxy.kafka import KafkaDoor
from penstock.testing.chaos.proxy.postgres import PostgresDoor


class Proxies:
    """They listen from `__enter__` to `__exit__`, which raises what went wrong in the proxy itself."""

    def __init__(self, seed: int = 0) -> None:
        """`seed` decides what is left to chance. The ports are known at once."""
        self._loop = asyncio.new_event_loop()
        self.kafka = KafkaDoor("kafka", self._loop, seed)
        self.postgres = PostgresDoor("postgres", self._loop, seed)
        self.s3 = ObjectsDoor("s3", self._loop, seed)
        self._doors = (self.kafka, self.postgres, self.s3)
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        for door in self._doors:
            self._loop.call_soon_threadsafe(door.open)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=30)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        found = await asyncio.gather(*(door.close() for door in self._doors), return_exceptions=True)
        for error in found:
            if error is not None:
                raise error
