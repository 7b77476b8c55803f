"""The supervisor: servers first, then services, all kept running until it is told to stop.

| stage   | starts                           | stops                   |
|---------|----------------------------------|-------------------------|
| servers | kafka, postgres, s3 in parallel  | last                    |
| control | the six control services         | after runner and gateway |
| doors   | gateway and runner               | first                   |
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from penstock.local.component import BACKOFF, Component, Spec
from penstock.local.folder import StackFolder, credentials
from penstock.local.jars import JarLock
from penstock.local.ports import HOST, Ports
from penstock.local.record import write_record
from penstock.local.servers import Access, Servers
from penstock.local.services import SERVICES, service_specs
from penstock.local.settings import LocalSettings
from penstock.local.stack import GatewayAccess, Stack, StackComponent, write_stack
from penstock.local.voice import Voice


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to start."""

    settings: LocalSettings
    environ: Mapping[str, str]
    """What every process inherits."""
    replicas: Mapping[str, int]
    """Per service; empty for the servers alone."""
    cache: Path
    """Folder of the jars."""
    jars: JarLock
    reach: Callable[[Access], Access] = lambda access: access
    """What everybody is told of the servers' addresses, where something stands before them."""
    tune: Callable[[Spec], Spec] = lambda spec: spec
    """The last word on how a component is run."""
    backoff: tuple[float, ...] = BACKOFF
    """Seconds before each restart of a component."""


class Supervisor:
    """Runs one stack; made inside its event loop, while the folder is held."""

    def __init__(self, folder: StackFolder, plan: Plan, voice: Voice, ports: Ports) -> None:
        self._folder = folder
        self._plan = plan
        self._voice = voice
        self._ports = ports
        self._credentials = credentials(folder)
        self._components: list[Component] = []
        self._access: Access | None = None
        self._complete = False
        self._recording = False

    async def start(self) -> Stack:
        """Start everything in order; the stack's description once all of it is ready.

        Raises:
            StopProcess: a component did not become ready; `stop` ends what was started.
        """
        plan = self._plan
        servers = Servers(self._folder, plan.settings, self._credentials, self._ports, plan.cache, plan.jars)
        self._recording = servers.recording
        self._access = servers.access
        environ = self._environment(plan.reach(self._access))
        specs = service_specs(self._folder, plan.settings, self._ports, environ, plan.replicas)
        for name, (preferred, taken) in self._ports.moved.items():
            self._voice.say(f"port {preferred} is busy: {name} listens on {taken}")
        made = (servers.postgres(environ, self._voice.say), servers.kafka(environ), servers.s3(environ))
        await _all(self._start_when_made(spec) for spec in made)
        await _all(self._start(spec) for spec in specs)
        self._complete = True
        stack = self._describe(self._access)
        write_stack(self._folder, stack)
        return stack

    async def stop(self) -> None:
        """End everything, in the opposite order."""
        if self._complete and self._recording:
            self._voice.say(
                "this once it takes longer: Kafka and the S3 server store what speeds up their next start"
            )
        self._complete = False
        self._folder.stack.unlink(missing_ok=True)
        for stage in (("runner",), ("gateway",), tuple(SERVICES)):
            await asyncio.gather(*(one.stop() for one in self._components if one.spec.name in stage))
        await asyncio.gather(*(one.stop() for one in self._components))
        self._folder.processes.unlink(missing_ok=True)

    def kill(self) -> None:
        """End everything at once."""
        self._folder.stack.unlink(missing_ok=True)
        for component in self._components:
            component.kill()

    def changed(self, component: Component) -> None:
        """A component's state or pid is another: write it down."""
        write_record(self._folder, self._components)
        if self._complete and self._access and component.state == "ready":
            write_stack(self._folder, self._describe(self._access))

    def ready(self, component: Component, seconds: float) -> None:
        """A component became ready."""
        self._voice.ready(component, seconds)

    def restarting(self, component: Component, why: str, delay: float) -> None:
        """A component ended by itself."""
        self._voice.restarting(component, why, delay)

    async def _start_when_made(self, making: Awaitable[Spec]) -> None:
        await self._start(await making)

    async def _start(self, spec: Spec) -> None:
        component = Component(self._plan.tune(spec), self, self._plan.backoff)
        self._components.append(component)
        await component.start()

    def _environment(self, access: Access) -> dict[str, str]:
        return {
            **self._plan.environ,
            "PENSTOCK_HTTP_HOST": HOST,
            "PENSTOCK_KAFKA_BOOTSTRAP": access.kafka.bootstrap,
            "PENSTOCK_POSTGRES_DSN": access.postgres.dsn,
            "PENSTOCK_S3_ENDPOINT": access.s3.endpoint,
            "PENSTOCK_S3_ACCESS_KEY": access.s3.access_key,
            "PENSTOCK_S3_SECRET_KEY": access.s3.secret_key,
            "PENSTOCK_S3_BUCKET": access.s3.bucket,
        }

    def _describe(self, access: Access) -> Stack:
        gateway = next((one.spec for one in self._components if one.spec.name == "gateway"), None)
        pids = {one.spec.name: one.pid for one in self._components if one.spec.replica == 0}
        return Stack(
            kafka=access.kafka,
            postgres=access.postgres,
            s3=access.s3,
            gateway=GatewayAccess(f"http://{HOST}:{gateway.port}" if gateway else ""),
            token=self._credentials.token,
            pids={**pids, "supervisor": os.getpid()},
            components=[
                StackComponent(one.spec.name, one.spec.replica, one.pid, one.spec.port, str(one.spec.log))
                for one in self._components
            ],
        )


async def _all(starting: Iterable[Awaitable[None]]) -> None:
    """Wait for all; the first failure cancels the others and is raised."""
    tasks = [asyncio.ensure_future(one) for one in starting]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
