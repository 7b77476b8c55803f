"""How the parts of the service hang together, whatever is behind their ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.kafka.ports import Sender
from penstock.objects.ports import Objects
from penstock.runtime.run import Process
from penstock.store.database import Database
from penstock_services.logs.archive import Archive
from penstock_services.logs.decide import Limits
from penstock_services.logs.duties import Duties
from penstock_services.logs.library import Library, PostgresIndex
from penstock_services.logs.loop import Loop
from penstock_services.logs.memory import Memory
from penstock_services.logs.settings import LogsSettings
from penstock_services.logs.tail import TailServer, make_threads


@contextmanager
def wired(
    process: Process,
    settings: LogsSettings,
    *,
    session_id: str,
    sender: Sender,
    objects: Objects,
    connect: Callable[[str], Database],
    cluster_id: Callable[[], str],
) -> Iterator[Loop]:
    """The loop with its threads running; they end with the block. `connect` opens Postgres for a use."""
    chunks = settings.chunks
    limits = Limits(chunks.log_chunk_bytes, chunks.log_chunk_seconds, chunks.log_gap_seconds)
    memory = Memory(limits, chunks.log_buffer_bytes)
    index = PostgresIndex(connect("tail"))
    with make_threads() as threads:
        library = Library(memory, index, objects, threads, settings.logs.log_close_seconds)
        tail = TailServer(settings.tail, library, settings.kafka.kafka_partitions)
        tail.start()
        duties = Duties(
            memory,
            session_id=session_id,
            name=process.instance,
            address=tail.address,
            close_seconds=settings.logs.log_close_seconds,
            sweep_seconds=chunks.log_sweep_seconds,
        )
        archive = Archive(process, objects, connect("index"), duties, threads=chunks.log_put_threads)
        archive.start()
        try:
            yield Loop(process, sender, memory, archive, duties, tail, cluster_id)
        finally:
            archive.close()
            tail.close()
    index.close()
