"""What the machine can do without us: `sh -c true` started and read to its end by asyncio alone."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE

AT_ONCE = 8


def asyncio_pidfd_exec_with_stdout_pipe(count: int) -> float:
    """Processes a second, eight at once, each with a pipe at its stdout that is read until it is closed.

    From Python 3.12 on asyncio takes pidfds by itself, before that it has to be told.
    """
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    return asyncio.run(_rate(count))


async def _rate(count: int) -> float:
    left = iter(range(count))

    async def spawn() -> None:
        for _ in left:
            process = await asyncio.create_subprocess_exec("sh", "-c", "true", stdout=PIPE)
            await process.communicate()
            assert process.returncode == 0

    began = time.monotonic()
    await asyncio.gather(*(spawn() for _ in range(AT_ONCE)))
    return count / (time.monotonic() - began)
