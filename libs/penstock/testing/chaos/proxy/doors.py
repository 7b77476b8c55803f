"""A listening port in front of one server, and the faults that need no knowledge of what passes."""

from __future__ import annotations

import asyncio
import functools
import random
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from penstock.testing.chaos.proxy.links import Conversation, Direction, Link, Outlet, close
from penstock.testing.chaos.proxy.rules import ALWAYS, Dose, Rule

HOST: Final = "127.0.0.1"
UP: Final[Direction] = "up"
DOWN: Final[Direction] = "down"
SLICE_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 60.0
"""How long the proxy's thread may take to hear of a rule on a busy machine."""


class Door:
    """One server's; all public methods are for other threads than the proxy's."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self._name = name
        self._loop = loop
        self._seed = seed
        self._made = 0
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._target: tuple[str, int] | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._faults: list[BaseException] = []
        self._socket = socket.create_server((HOST, 0), backlog=512)
        self._socket.settimeout(0)
        self.port: int = self._socket.getsockname()[1]

    def target(self, host: str, port: int) -> None:
        """Where the server is. Until it is known, connections are reset."""
        self._target = (host, port)

    def cut(self) -> Rule:
        """Reset all connections, and every new one."""
        rule = self._add("cut")
        rule.hits += self._reset_all()
        return rule

    def hang(self) -> Rule:
        """Nothing passes, and nothing is closed; what waits goes on when it is lifted."""
        return self._add(UP, DOWN)

    def one_way(self, direction: Direction) -> Rule:
        """Nothing passes in this direction (`UP` to the server, `DOWN` to the client)."""
        return self._add(direction)

    def delay(self, milliseconds: float, jitter: float = 0.0) -> Rule:
        """Every answer comes so much later, and by up to `jitter` milliseconds more."""
        return self._add("delay", value=milliseconds / 1000, jitter=jitter / 1000)

    def slow(self, bytes_a_second: float) -> Rule:
        """Each connection carries so much in each direction, at most."""
        return self._add("slow", value=bytes_a_second)

    def lift_all(self) -> None:
        """End every rule that there is."""
        for rule in {rule for rules in list(self._rules.values()) for rule in rules}:
            rule.lift()

    # In the proxy's thread

    def open(self) -> None:
        """Listen."""
        self._listening = self._loop.create_task(self._listen())

    async def close(self) -> None:
        """End everything; raises what went wrong in the proxy itself."""
        tasks = [*self._links, *filter(None, [self._listening])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listening is not None:
            self._note(self._listening)
        self._socket.close()
        if self._faults:
            raise BaseExceptionGroup(f"the proxy of {self._name} failed", self._faults)

    async def connect(self) -> socket.socket:
        """See `Way`."""
        if self._target is None:
            raise ConnectionRefusedError
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        end.settimeout(0)
        try:
            await self._loop.sock_connect(end, self._target)
        except BaseException:
            end.close()
            raise
        return end

    async def passage(self, direction: Direction, size: int) -> None:
        """See `Way`."""
        if not self._rules:
            return
        while (gate := self.biting(direction)) is not None:
            await gate.lifted.wait()
        if direction == DOWN and (late := self.biting("delay")) is not None:
            await asyncio.sleep(late.about())
        left = size
        while left > 0 and (slow := self.biting("slow")) is not None:
            left -= max(1, int(slow.value * SLICE_SECONDS))
            await asyncio.sleep(SLICE_SECONDS)

    def converse(self, client: Outlet, server: Outlet) -> Conversation:
        """See `Way`."""
        raise NotImplementedError

    def looks(self, *kinds: str) -> bool:
        """Whether there is a rule of one of these kinds."""
        return any(kind in self._rules for kind in kinds)

    def biting(self, kind: str, *subject: str) -> Rule | None:
        """The first rule of this kind that bites now."""
        for rule in self._rules.get(kind, ()):
            if rule.bites(*subject):
                return rule
        return None

    def _add(self, *kinds: str, dose: Dose = ALWAYS, **more: Any) -> Rule:
        self._made += 1
        chance = random.Random(f"{self._seed}/{self._name}/{self._made}")
        rule = Rule(dose, chance, self._lift, **more)

        def add() -> None:
            for kind in kinds:
                self._rules[kind] = (*self._rules.get(kind, ()), rule)

        self._in_loop(add)
        return rule

    def _lift(self, rule: Rule) -> None:
        def lift() -> None:
            for kind, rules in list(self._rules.items()):
                left = tuple(one for one in rules if one is not rule)
                if left:
                    self._rules[kind] = left
                else:
                    del self._rules[kind]
            rule.lifted.set()

        if not self._loop.is_closed():
            self._in_loop(lift)

    def _reset_all(self) -> int:
        """Reset the connections that stand; returns how many there were."""
        links: list[asyncio.Task[None]] = []

        def reset() -> None:
            links.extend(self._links)
            for link in links:
                link.cancel()

        self._in_loop(reset)
        return len(links)

    def _in_loop(self, act: Callable[[], None]) -> None:
        """Do it in the proxy's thread, and wait until it is done."""
        done: Future[None] = Future()

        def run() -> None:
            act()
            done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(timeout=ANSWER_SECONDS)

    async def _listen(self) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._socket)
            if self.biting("cut") is not None:
                close(client, reset=True)
                continue
            link = self._loop.create_task(Link(self, client).run())
            self._links.add(link)
            link.add_done_callback(functools.partial(self._ended, client))

    def _ended(self, client: socket.socket, link: asyncio.Task[None]) -> None:
        self._links.discard(link)
        if client.fileno() >= 0:  # cancelled before its first turn
            close(client, reset=True)
        self._note(link)

    def _note(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._faults.append(error)
