"""A server away for a while, with many jobs running: who is hurt, and how soon all goes on afterwards."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import orjson

from bench.field import Field, patient
from bench.meter import rss_mb
from penstock.client import Patience, follow_log
from penstock.core.errors import PenstockError, RetryLater, StopProcess
from penstock.core.ids import uuid4
from penstock.kafka.probe import probe
from penstock.testing.chaos.arena import frozen

Server = Literal["postgres", "kafka"]
How = Literal["down", "hang"]

QUEUED = 50
"""Jobs that wait for a slot when the server goes away."""
LINE_SECONDS = 0.5
POST_SECONDS = 1.0
POST_PATIENCE = 30.0
ANSWER_SECONDS = 0.05
BACK_SECONDS = 120.0
PIPE_SECONDS = 10.0
LOST = "worker-lost"
"""Taken from a runner that had begun; one that was not begun in time costs nothing but its claim."""
ENDED = ("SUCCESS", "FAILED", "CANCELLED", "SKIPPED")


class Crowd:
    """Jobs that run until they are told to end, each at its own named pipe; they note starts and ends."""

    def __init__(self, field: Field, count: int) -> None:
        self._folder = folder = field.folder / uuid4()
        folder.mkdir()
        folder.chmod(0o777)
        body = (
            f'cd {folder}; echo "start $CI_ATTEMPT" >> $CI_JOB_ID; mkfifo $CI_JOB_ID.pipe || exit 9;'
            ' read _ < $CI_JOB_ID.pipe; echo "end $CI_ATTEMPT" >> $CI_JOB_ID'
        )
        size = min(count, 100)
        self.ids = field.submit({f"job-{n}": {"run": body} for n in range(size)}, count // size, "crowd")
        field.until(lambda: field.count(self.ids, "RUNNING") == count, f"{count} jobs run")
        field.until(lambda: len(self._pipes()) == count, "all of them wait at their pipes")
        self._waiting = self._pipes()

    def end(self, count: int) -> None:
        """Let so many of them end."""
        for pipe in self._waiting[:count]:
            patient(lambda: _write(pipe), PIPE_SECONDS)  # noqa: B023 - called at once
        del self._waiting[:count]

    def left(self) -> int:
        """How many were not told to end."""
        return len(self._waiting)

    def started_twice(self) -> int:
        """Starts beyond the first, as the jobs themselves noted."""
        starts = Counter(
            path.name
            for path in self._folder.iterdir()
            if not path.suffix
            for line in path.read_text().splitlines()
            if line.startswith("start")
        )
        return sum(starts.values()) - len(starts)

    def _pipes(self) -> list[Path]:
        return sorted(self._folder.glob("*.pipe"))


class Poster:
    """POSTs a pipeline every second, and keeps what it was answered and how long that took."""

    def __init__(self, field: Field) -> None:
        self.answers: Counter[int] = Counter()
        self.accepted: list[str] = []
        """Keys that were answered 2xx."""
        self.slowest = 0.0
        self._stack = field.arena.stack
        self._gateway = self._stack.gateway.url.removeprefix("http://")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Poster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POST_SECONDS):
            key = uuid4()
            began = time.monotonic()
            status = self._post(key)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.answers[status] += 1
            if 200 <= status < 300:
                self.accepted.append(key)

    def _post(self, key: str) -> int:
        jobs = {"name": "posted", "jobs": {"one": {"executor": "noop"}}}
        headers = {"Authorization": f"Bearer {self._stack.token}", "Content-Type": "application/json"}
        body = orjson.dumps({"request_id": key, "definition": jobs})
        connection = http.client.HTTPConnection(self._gateway, timeout=POST_PATIENCE)
        try:
            connection.request("POST", "/v1/pipelines", body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


class Tail:
    """Follows the log of a job that prints twice a second, and notes when each line came."""

    def __init__(self, field: Field) -> None:
        self.came: list[float] = []
        self.texts: list[str] = []
        self._field = field
        self._enough = field.folder / f"enough-{uuid4()}"
        talk = f"n=0; while [ ! -e {self._enough} ]; do echo line $n; n=$((n+1)); sleep {LINE_SECONDS}; done"
        self.ids = field.submit({"talk": {"run": talk}}, name="talker")
        field.until(lambda: field.count(self.ids, "RUNNING") == 1, "the talker runs")
        self._job = field.transitions(self.ids)[0][0]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        field.until(lambda: bool(self.came), "its first line comes")

    def end(self) -> bool:
        """Let it end; whether every line came once and in order."""
        self._enough.touch()
        self._thread.join(60)
        return self.texts == [f"line {n}" for n in range(len(self.texts))] and not self._thread.is_alive()

    def longest_gap(self, begin: float, end: float) -> float:
        """Between two lines in this time (Unix seconds), or without one at an edge of it."""
        within = [begin, *(at for at in self.came if begin < at < end), end]
        return max(later - earlier for earlier, later in itertools.pairwise(within))

    def _run(self) -> None:
        client = self._field.arena.client()
        for batch in follow_log(client, self._job, 1, Patience(600)):
            for line in batch:
                if "text" in line:
                    self.came.append(time.time())
                    self.texts.append(line["text"])


def outage(field: Field, server: Server, how: How, *, jobs: int, seconds: float) -> dict[str, Any]:
    """Figures of one outage of so many seconds while so many jobs run; a third of them end meanwhile.

    The runner has one slot more than there are jobs (for a talker), so that the slots of those that end are
    what others wait for. `start_s` is how long the server took to answer once it was put back, from where the
    other times count. Everything has ended when it returns.
    """
    tail = Tail(field)
    crowd = Crowd(field, jobs)
    # None of them short: short ones are granted ahead of free slots, and might all be over before it is back.
    waiting = field.submit({f"w{n}": {"run": "sleep 0.5"} for n in range(QUEUED)}, name="waiting")
    field.until(lambda: field.count(waiting, "QUEUED") == QUEUED, "others wait")
    claimed = _attempts(field, crowd.ids)
    before = _memory(field)
    grown: dict[str, float] = {}
    began = time.time()
    with _away(field, server, how) as put_back, Poster(field) as poster:
        for _ in range(jobs // 3):
            time.sleep(seconds / (jobs // 3))
            crowd.end(1)
        grown = {name: round(mb - before.get(name, 0.0)) for name, mb in _memory(field).items()}
        released = time.time()
        put_back()
        back = _back(field, server)
        drained = _drained(field, back)
    ids = [*crowd.ids, *waiting]
    first = _first(field, waiting, "ASSIGNED", released)
    crowd.end(crowd.left())
    in_order = tail.end()
    field.until(lambda: _all_ended(field, [*ids, *tail.ids]), "everything ends")
    field.until(lambda: _accepted(field, poster) == len(poster.accepted), "what was answered 2xx has ended")
    rows = field.transitions(ids)
    mine = [row for row in field.transitions(crowd.ids) if row[2] == "SUCCESS"]
    return {
        "running": jobs,
        "seconds": round(released - began, 1),
        "start_s": round(back - released, 1),
        "reclaimed": sum(row[4] == LOST and row[5] > began for row in rows),
        "completed": sum(claimed[row[0]] == row[3] for row in mine),
        "started_twice": crowd.started_twice(),
        "first_dispatch_s": round(max(0.0, first - back), 2),
        "posts": {str(status): count for status, count in sorted(poster.answers.items())},
        "slowest_post_s": round(poster.slowest, 2),
        "tail_in_order": in_order,
        "tail_longest_gap_s": round(tail.longest_gap(began, back), 2),
        "drained_s": round(drained - back, 1),
        "memory_grown_mb": {name: mb for name, mb in sorted(grown.items()) if mb > 1},
        "n": jobs,
    }


@contextlib.contextmanager
def _away(field: Field, server: Server, how: How) -> Iterator[Callable[[], None]]:
    """Take it away; what is yielded puts it back."""
    with contextlib.ExitStack() as undo:
        if how == "hang":
            undo.enter_context(frozen(field.arena, server))
        else:
            field.arena.hold(server)
            undo.callback(field.arena.release, server)
        yield undo.close


def _back(field: Field, server: Server) -> float:
    """Unix seconds at which it answers us."""
    deadline = time.monotonic() + BACK_SECONDS
    while not (field.db.answers() if server == "postgres" else _kafka_answers(field)):
        if time.monotonic() > deadline:
            raise StopProcess(f"{server} does not come back")
        time.sleep(ANSWER_SECONDS)
    return time.time()


def _kafka_answers(field: Field) -> bool:
    try:
        probe(field.subject.kafka, 1.0)
    except RetryLater:
        return False
    return True


def _write(pipe: Path) -> None:
    """Wake who reads there. Raises RetryLater when nobody does (yet)."""
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise RetryLater(f"{pipe}: nobody reads it, so its job is dead: {error}") from None
    os.write(descriptor, b"\n")
    os.close(descriptor)


def _first(field: Field, ids: list[str], state: str, after: float) -> float:
    """When the first job of these entered the state after that time."""
    found: list[float] = []

    def there() -> bool:
        found.extend(row[5] for row in field.transitions(ids) if row[2] == state and row[5] > after)
        return bool(found)

    field.until(there, f"a job becomes {state}")
    return min(found)


def _all_ended(field: Field, ids: list[str]) -> bool:
    jobs: int = patient(
        lambda: field.db.one("SELECT count(*) FROM jobs WHERE pipeline_id = ANY(%s::uuid[])", (ids,))
    )
    return field.count(ids, *ENDED) == jobs


def _accepted(field: Field, poster: Poster) -> int:
    """Pipelines of what was answered 2xx that have ended, each counted once."""
    try:
        return int(
            field.db.one(
                "SELECT count(*) FROM pipelines WHERE request_id = ANY(%s) AND state = 'SUCCESS'",
                (poster.accepted,),
            )
        )
    except RetryLater:
        return -1


def _drained(field: Field, back: float) -> float:
    """Unix seconds at which nothing of before is left in the outbox."""
    left = "SELECT count(*) FROM outbox WHERE created_at < to_timestamp(%s)"
    field.until(lambda: patient(lambda: field.db.one(left, (back,))) == 0, "the outbox drains")
    return time.time()


def _attempts(field: Field, ids: list[str]) -> dict[str, int]:
    """Job -> the attempt that runs; earlier ones were given back unstarted by a busy runner."""
    rows = field.db.rows("SELECT id::text, attempt FROM jobs WHERE pipeline_id = ANY(%s::uuid[])", (ids,))
    return {row[0]: row[1] for row in rows}


def _memory(field: Field) -> dict[str, float]:
    """MB a component, without what jobs and guards take."""
    found: dict[str, float] = {}
    for component in field.arena.components():
        if component.pid:
            with contextlib.suppress(OSError, PenstockError):
                found[component.name] = rss_mb([component.pid])
    return found
