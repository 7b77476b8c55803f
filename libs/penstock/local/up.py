"""Start a stack and stay with it until it is told to stop; stop one that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from penstock.core.errors import StopProcess
from penstock.local.fetch import fetch
from penstock.local.folder import StackFolder, held
from penstock.local.ports import Ports
from penstock.local.process import end_leftovers, is_alive
from penstock.local.record import read_record
from penstock.local.stack import Stack
from penstock.local.supervisor import Plan, Supervisor
from penstock.local.voice import Voice
from penstock.runtime.clock import pause

Foreground = Callable[[Stack], int]
INTERRUPTED = 130


def up(folder: StackFolder, plan: Plan, voice: Voice, foreground: Foreground | None = None) -> int:
    """Run a stack in this process; returns its exit code once everything has ended.

    With `foreground` the stack ends when that returns, with its exit code; else at SIGINT, SIGTERM or SIGHUP.

    Raises:
        AlreadyRunningError: another process runs a stack in the folder.
        StopProcess: a component did not start.
        RetryLater: the jars cannot be fetched now.
    """
    folder.create()
    with held(folder):
        folder.stack.unlink(missing_ok=True)
        record = read_record(folder)
        if record and (count := end_leftovers(process.child for process in record.components)):
            voice.say(f"ended {count} processes that an earlier stack left behind")
        voice.say(f"starting a stack in {folder.path}")
        fetch(plan.jars.jars, plan.cache, plan.settings.maven_url)
        ports = Ports()
        try:
            return asyncio.run(_run(folder, plan, voice, ports, foreground))
        finally:
            ports.close()


def down(folder: StackFolder, voice: Voice, seconds: float = 60.0) -> bool:
    """Stop the stack in the folder, whoever runs it; whether there was anything to stop.

    Raises:
        StopProcess: its supervisor belongs to somebody else.
    """
    record = read_record(folder)
    if record is None:
        return False
    supervisor = record.supervisor
    running = is_alive(supervisor)
    if running:
        try:
            os.kill(supervisor.pid, signal.SIGTERM)
        except PermissionError:
            raise StopProcess(
                f"the stack in {folder.path} was started by another user: stop it as that one"
            ) from None
        for _ in range(int(seconds / 0.05)):
            if not is_alive(supervisor):
                break
            pause(0.05)
        else:
            voice.say(f"the supervisor did not end within {seconds:.0f} s and is killed")
            os.kill(supervisor.pid, signal.SIGKILL)
    left = end_leftovers(process.child for process in (read_record(folder) or record).components)
    folder.stack.unlink(missing_ok=True)
    folder.processes.unlink(missing_ok=True)
    return running or left > 0


async def _run(
    folder: StackFolder, plan: Plan, voice: Voice, ports: Ports, foreground: Foreground | None
) -> int:
    loop = asyncio.get_running_loop()
    supervisor = Supervisor(folder, plan, voice, ports)
    told: asyncio.Future[int] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if told.done():
            supervisor.kill()
            os._exit(INTERRUPTED)
        told.set_result(INTERRUPTED if number == signal.SIGINT else 0)
        voice.say("stopping (once more: at once)" if number == signal.SIGINT else "stopping")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        return await _until_told(supervisor, voice, told, foreground)
    finally:
        await supervisor.stop()
        voice.say("stopped")


async def _until_told(
    supervisor: Supervisor, voice: Voice, told: asyncio.Future[int], foreground: Foreground | None
) -> int:
    began = asyncio.get_running_loop().time()
    starting = asyncio.ensure_future(supervisor.start())
    await _first(starting, told)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return told.result()
    stack = starting.result()
    seconds = asyncio.get_running_loop().time() - began
    where = f", gateway {stack.gateway.url}" if stack.gateway.url else ""
    voice.say(f"ready in {seconds:.1f} s{where}; addresses and token are in .penstock/stack.json")
    if foreground is None:
        await told
        return 0
    ended = _in_thread(foreground, stack)
    await _first(ended, told)
    return ended.result() if ended.done() else told.result()


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _in_thread(foreground: Foreground, stack: Stack) -> asyncio.Future[int]:
    """Run it beside the loop; a thread that does not keep the process alive once the stack has ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def settle(code: int | None, error: BaseException | None) -> None:
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(code or 0)

    def body() -> None:
        code: int | None = None
        failure: BaseException | None = None
        try:
            code = foreground(stack)
        except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
            failure = error
        with contextlib.suppress(RuntimeError):  # the stack has ended meanwhile, and the loop with it
            loop.call_soon_threadsafe(settle, code, failure)

    threading.Thread(target=body, name="foreground", daemon=True).start()
    return ended
