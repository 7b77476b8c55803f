"""Composition of the runner."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from penstock.kafka.producer import Producer
from penstock.runtime.run import Process, start
from penstock_services.runner.agent import Agent
from penstock_services.runner.folder import StateFolder
from penstock_services.runner.guard import conceal
from penstock_services.runner.kafka_transport import KafkaTransport, session_source
from penstock_services.runner.settings import RunnerSettings


async def serve(process: Process, settings: RunnerSettings, sender: Producer, frame_sender: Producer) -> None:
    """Run one session until the process is told to stop."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    def transport(session_id: str) -> KafkaTransport:
        open_source = partial(session_source, settings.kafka, session_id, process.clock)
        return KafkaTransport(session_id, sender, frame_sender, open_source, process.clock)

    process.on_stop(stop)
    folder = StateFolder.claim(settings.place.state_dir, settings.process.instance)
    await Agent(process, settings, folder, transport).run(stopping)


def body(process: Process, settings: RunnerSettings) -> None:
    """The senders are warm before the session begins."""
    conceal()
    name = f"runner-{process.instance}"
    with (
        Producer(settings.kafka, name, clock=process.clock) as sender,
        Producer(settings.kafka, f"{name}-frames", linger_ms=2, clock=process.clock) as frame_sender,
    ):
        asyncio.run(serve(process, settings, sender, frame_sender))


def main() -> int:
    """Entry point of `penstock service runner`."""
    return start("runner", RunnerSettings, body)


if __name__ == "__main__":
    sys.exit(main())
