"""The end of a run: rest, and everything that a verdict is made of; or what remains of one that failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from penstock.kafka.producer import Producer
from penstock.runtime.clock import SystemClock
from penstock.store import audit
from penstock.testing.chaos.arena import Arena
from penstock.testing.chaos.collect import READ_SECONDS, dump_topic, logs, topic_names
from penstock.testing.chaos.data_faults import REPEATED, again
from penstock.testing.chaos.rest import all_read, is_quiet, lags, logs_are_whole
from penstock.testing.chaos.timetable import Timetable
from penstock.testing.history import Folder
from penstock.testing.history.dumps import difference
from penstock.testing.history.folder import About
from penstock.testing.history.past import Replay
from penstock.testing.history.survivors import survivors

REST_SECONDS: Final = 180.0
"""Whatever takes longer does not come."""
COLLECT_SECONDS: Final = 240.0
"""To collect everything takes no longer, unless nothing answers."""
REPLAY_SECONDS: Final = 120.0
REMAINS_SECONDS: Final = 120.0
END_SECONDS: Final = REST_SECONDS + COLLECT_SECONDS

Tell = Callable[[str], None]


def come_to_rest(arena: Arena, about: About, time: Timetable, tell: Tell) -> None:
    """Wait until nothing is left to do; what does not end is the verdict's matter."""
    if time.wait("rest", lambda: is_quiet(arena), REST_SECONDS, keep=COLLECT_SECONDS):
        about.rested_at = SystemClock().now()
        tell(f"at rest {about.rested_at - about.healed_at:.1f} s after the last fault")
        time.wait("all is read", lambda: all_read(arena), REST_SECONDS, keep=COLLECT_SECONDS)
        # Nobody says of partitions that nobody reads how far behind they are.
        time.wait("logs are whole", lambda: logs_are_whole(arena), REST_SECONDS, keep=COLLECT_SECONDS)
    about.lag = lags(arena)
    if any(about.lag.values()):
        tell(f"not all is read: {about.lag}")


def everything(arena: Arena, folder: Folder, time: Timetable, tell: Tell) -> None:
    """All that a verdict is made of, apart from the journals. Raises RetryLater."""
    books = audit.books(arena.db)
    # First: a log is stored, or given up on, a while after its attempt has ended, and that changes rows.
    folder.logs(logs(arena.client(), books, time.left(READ_SECONDS)))
    tell(f"read the logs of {len(books.attempts)} attempts")
    before = audit.dump(arena.db)
    records = _tell_all_again(arena)
    time.wait("all is read again", lambda: all_read(arena) and is_quiet(arena), REPLAY_SECONDS)
    books = audit.books(arena.db)
    folder.replays([Replay("every topic", records, difference(before, audit.dump(arena.db)))])
    folder.books(books)
    folder.survivors(survivors([job["id"] for job in books.jobs], SystemClock().now()))
    tell(f"{records} records told once more")
    for name in topic_names():
        folder.topic(name, dump_topic(arena.kafka(), name))
    tell("collected")


def remains(arena: Arena, folder: Folder, tell: Tell) -> None:
    """Heal the arena, and keep what can be had of it: no part is in the way of another."""
    clock = SystemClock()
    deadline = clock.monotonic() + REMAINS_SECONDS

    def rows() -> None:
        books = audit.books(arena.db)
        folder.books(books)
        folder.survivors(survivors([job["id"] for job in books.jobs], clock.now()))
        folder.logs(logs(arena.client(), books, 0.0))

    def topic(name: str) -> None:
        folder.topic(name, dump_topic(arena.kafka(), name))

    parts: dict[str, Callable[[], None]] = {
        "the arena": arena.heal,
        "its components": lambda: arena.until(arena.all_ready, REMAINS_SECONDS / 2, "all are ready"),
        "rows and logs": rows,
        **{name: partial(topic, name) for name in topic_names()},
    }
    for name, part in parts.items():
        if clock.monotonic() > deadline:
            tell(f"no time is left for {name}")
            continue
        try:
            part()
        except Exception as error:  # noqa: BLE001 - whatever else can be had is wanted all the same
            tell(f"{name}: {type(error).__name__}: {error}")


def _tell_all_again(arena: Arena) -> int:
    """Every record that services read, once more (I11); returns how many."""
    count = 0
    with Producer(arena.kafka(), "chaos-replay") as producer:
        for topic in REPEATED:
            records = dump_topic(arena.kafka(), topic.name)
            producer.send([again(record) for record in records])
            count += len(records)
    return count
