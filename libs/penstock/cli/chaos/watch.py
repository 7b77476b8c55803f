"""Kill one process of the running stack and tell what happens until all is well."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from penstock.cli.chaos.story import JobSeen, Kind, Line, Step, Story
from penstock.cli.chaos.victim import Victim
from penstock.client import Client, Patience
from penstock.core.errors import PenstockError, RetryLater
from penstock.core.ids import uuid4
from penstock.local.stack import Stack
from penstock.runtime.clock import SystemClock
from penstock.store import living
from penstock.store.database import Database

LOOK_SECONDS: Final = 0.1
OWN_SECONDS: Final = 8
"""How long a job of our own runs, where none is there to be watched."""
START_SECONDS: Final = 30.0
"""How long it may take to begin."""
CALL_SECONDS: Final = 5.0
TENANT: Final = "default"
OWN: Final = {"name": "chaos", "jobs": {"sleep": {"run": f"sleep {OWN_SECONDS}"}}}
PROBE: Final = {"name": "chaos", "jobs": {"after": {"executor": "noop"}}}

Tell = Callable[[Line], None]


class Watch:
    """One kill in a running stack; `tell` gets every line as it becomes true."""

    def __init__(self, stack: Stack, tell: Tell, patience: float) -> None:
        self._db = Database(stack.postgres.dsn, "penstock-chaos")
        url = stack.gateway.url  # none where only the servers run
        self._client = Client(url, stack.token, call_seconds=CALL_SECONDS) if url else None
        self._tell = tell
        self._patience = patience
        self._clock = SystemClock()
        self._never = threading.Event()

    def close(self) -> None:
        """Leave the stack alone."""
        self._db.close()

    def jobs(self, runners: Sequence[int] | None = None) -> list[living.JobNow]:
        """What runs (on one of these replicas of the runner, if any are named); where nothing does, a job of
        our own, once it runs. Raises RetryLater.
        """
        found = [
            job
            for job in living.held(self._db)
            if runners is None or any(is_of(job, replica) for replica in runners)
        ]
        if found or self._client is None:
            return found
        self._tell(Line(0.0, f"nothing runs: a job of {OWN_SECONDS} s is started", {"event": "own"}))
        key = uuid4()
        self._client.submit(key, definition=OWN)
        until = self._clock.monotonic() + START_SECONDS
        while self._clock.monotonic() < until:
            own = living.of_request(self._db, TENANT, key)
            if own and own[0].state == "RUNNING":
                return own
            self._clock.sleep(LOOK_SECONDS, self._never)
        raise RetryLater(f"the job did not begin within {START_SECONDS:.0f} s: is there a runner?")

    def kill(self, kind: Kind, victim: Victim, jobs: Sequence[living.JobNow], *, wipe: bool = False) -> bool:
        """Kill it and tell what happens; whether all was well before the patience ended."""
        held = [job for job in jobs if kind != "worker" or is_of(job, victim.replica)]
        probe = uuid4() if self._client else ""
        story = Story(kind, victim.label, [_seen(job) for job in held], probe)
        (victim.wipe_and_kill if wipe else victim.kill)()
        began = self._clock.monotonic()
        self._say(story.beginning(victim.pid, wiped=wipe))
        refused: list[str] = []
        if self._client is not None:
            asking = (self._client, probe, self._patience, refused)
            threading.Thread(target=_ask, args=asking, daemon=True).start()
        seconds = 0.0
        while not story.is_well and seconds < self._patience and not refused:
            self._clock.sleep(LOOK_SECONDS, self._never)
            seconds = self._clock.monotonic() - began
            state, restarted = victim.now()
            self._say(story.component(seconds, state, restarted=restarted))
            self._look(story, probe, began)
        self._tell(story.end(self._clock.monotonic() - began, why="; ".join(refused)))
        return story.is_well

    def _look(self, story: Story, probe: str, began: float) -> None:
        try:
            found = living.of_request(self._db, TENANT, probe) if story.waits_for_probe else []
            steps = living.steps(self._db, [*story.job_ids, *(job.job_id for job in found)])
        except RetryLater:
            self._say(story.database(self._clock.monotonic() - began, answers=False))
            return
        seconds = self._clock.monotonic() - began
        self._say(story.database(seconds, answers=True))
        for job in found:
            self._say(story.probe(seconds, _seen(job)))
        for step in steps:
            self._say(story.step(seconds, Step(*step)))

    def _say(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self._tell(line)


def is_of(job: living.JobNow, replica: int) -> bool:
    """Whether this replica of the stack's runner holds the job: it is named by its host and state folder."""
    return job.worker == f"{socket.gethostname()}/runner-{replica}"


def _seen(job: living.JobNow) -> JobSeen:
    return JobSeen(job.job_id, f"{job.pipeline}/{job.name}", job.state, job.attempt, job.version)


def _ask(client: Client, key: str, patience: float, refused: list[str]) -> None:
    """Ask for a pipeline for as long as nobody takes the request; `refused` gets why it never will be."""
    definition: dict[str, Any] = PROBE
    try:
        Patience(patience).call(lambda: client.submit(key, definition=definition))
    except PenstockError as error:
        refused.append(str(error))
