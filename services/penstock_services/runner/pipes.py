"""The two pipes of an attempt: what its processes write, read as bytes as soon as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

from penstock_services.runner.executors import Output
from penstock_services.runner.frames import Stream
from penstock_services.runner.processes import Guard

READ_BYTES: Final = 64 * 1024
DRAIN_READS: Final = 16
"""At the end so many reads take what a pipe can hold (1 MiB); somebody outside may still be writing."""


class Pipes:
    """Reads both streams into an output until `close`; a full output holds the job back."""

    def __init__(self, output: Output) -> None:
        """Make them. Raises `OSError`."""
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Task[None] | None = None
        self._writers: list[int] = []
        self._readers: dict[int, Stream] = {}
        streams: tuple[Stream, Stream] = ("stdout", "stderr")
        try:
            for stream in streams:
                reader, writer = os.pipe()
                os.set_blocking(reader, False)
                self._readers[reader] = stream
                self._writers.append(writer)
        except OSError:
            self.close()
            raise
        self._read_on()

    def hand_to(self, guard: Guard) -> None:
        """Give a guard the ends to write into."""
        out, err = self._writers
        self._writers = []
        guard.attach(out, err)

    def close(self) -> None:
        """The attempt is dead: take what is still in the pipes."""
        if self._waiting is not None:
            self._waiting.cancel()
        for writer in self._writers:
            os.close(writer)
        for reader, stream in self._readers.items():
            self._loop.remove_reader(reader)
            with contextlib.suppress(BlockingIOError):
                for _ in range(DRAIN_READS):
                    data = os.read(reader, READ_BYTES)
                    if not data:
                        break
                    self._output.write(stream, data)
            os.close(reader)
        self._readers.clear()

    def _read_on(self) -> None:
        for reader, stream in self._readers.items():
            self._loop.add_reader(reader, self._on_readable, reader, stream)

    def _on_readable(self, reader: int, stream: Stream) -> None:
        data = os.read(reader, READ_BYTES)
        if not data:
            self._loop.remove_reader(reader)
            return
        self._output.write(stream, data)
        if self._output.full:
            for each in self._readers:
                self._loop.remove_reader(each)
            self._waiting = self._loop.create_task(self._wait_for_room())

    async def _wait_for_room(self) -> None:
        await self._output.room()
        self._read_on()
