"""Claims what was decided, by compare-and-swap; of a batch that cannot be, the offender alone ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from penstock.runtime.log import logger
from penstock.store import jobs
from penstock.store.changes import Changes
from penstock.store.database import Database, PoisonRow
from penstock_services.dispatcher.decide import Choice

HOLDS_AT_ONCE: Final = 1_000
"""That the jobs of one statement ask for."""

log = logger(__name__)


class Claimed(NamedTuple):
    """What became of a decision."""

    attempts: dict[str, int]
    """Of the jobs that were won, by job."""
    waits: list[dict[str, Any]]
    """Of the others, what they were refused for a lock, a quota or a limit: rows of `claim_v1`."""


class Claims:
    """By the leases of `jobs.claim`: of exclusive jobs and of those with locks long ones."""

    def __init__(
        self,
        db: Database,
        *,
        lease_seconds: float,
        exclusive_seconds: float,
        actor: str,
        new_token: Callable[[], str],
    ) -> None:
        self._db = db
        self._lease_seconds = lease_seconds
        self._exclusive_seconds = exclusive_seconds
        self._actor = actor
        self._new_token = new_token
        self.may_refuse = True
        """Whether one more job may be ended for its claim."""

    def claim(self, changes: Changes, choices: Sequence[Choice], waited: dict[str, float]) -> Claimed:
        """Claim them; `waited`: for how many seconds it has been the turn of those with holds."""
        waits: list[dict[str, Any]] = []
        for some in _statements(sorted(choices, key=_job_id)):
            self._claim(changes, some, waited, waits)
        return Claimed({grant["job_id"]: grant["attempt"] for grant in changes.grants}, waits)

    def _claim(
        self, changes: Changes, choices: list[Choice], waited: dict[str, float], waits: list[dict[str, Any]]
    ) -> None:
        claims = [
            {
                "job_id": choice.job.job_id,
                "token": self._new_token(),
                "session_id": choice.runner.session_id,
                "n": choice.runner.n,
                "waited": waited.get(choice.job.job_id, 0.0),
            }
            for choice in choices
        ]
        try:
            waits += jobs.claim(
                self._db,
                changes,
                claims,
                lease_seconds=self._lease_seconds,
                exclusive_seconds=self._exclusive_seconds,
                actor=self._actor,
            ).waits
        except PoisonRow as error:
            if len(choices) == 1:
                job_id = choices[0].job.job_id
                log.error("job cannot be claimed", job_id=job_id, error=str(error))  # noqa: TRY400
                self._refuse(changes, job_id)
                return
            middle = len(choices) // 2
            self._claim(changes, choices[:middle], waited, waits)
            self._claim(changes, choices[middle:], waited, waits)

    def _refuse(self, changes: Changes, job_id: str) -> None:
        """Alone it is at fault: it ends, or every sweep would try it again (protocol §10).

        One a sweep: should the fault be ours after all, it does not run through the queue.
        """
        if not self.may_refuse:
            return
        self.may_refuse = False
        try:
            jobs.refuse(self._db, changes, [job_id], actor=self._actor)
        except PoisonRow as error:
            log.warning("job cannot be ended either", job_id=job_id, error=str(error))


def _statements(choices: list[Choice]) -> Iterator[list[Choice]]:
    """So few a statement that Postgres can lock all names that they ask for, and is soon done."""
    some: list[Choice] = []
    holds = 0
    for choice in choices:
        holds += len(choice.job.holds)
        if some and holds > HOLDS_AT_ONCE:
            yield some
            some, holds = [], len(choice.job.holds)
        some.append(choice)
    if some:
        yield some


def _job_id(choice: Choice) -> str:
    return choice.job.job_id
