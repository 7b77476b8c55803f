"""Small pipelines straight in the store, and the hands of a runner, for tests of transitions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.core.ids import uuid4, uuid7
from penstock.runtime.clock import SystemClock
from penstock.store import jobs, requests
from penstock.store.changes import Changes
from penstock.store.database import Database

ACTOR = "test-0"
POLICY = jobs.Policy(retry_base=0.0)


class World:
    """One pipeline in a database, driven by hand."""

    def __init__(
        self,
        db: Database,
        specs: Sequence[dict[str, Any]],
        edges: Iterable[tuple[int, int]] = (),
        *,
        tenant: str = "default",
        concurrency: dict[str, Any] | None = None,
    ) -> None:
        """specs: one a job, any of what `accept_v1` takes of one. With `concurrency`, {group, …}, each holds
        that group.
        """
        self.db = db
        self.tenant = tenant
        self.session = uuid7(SystemClock().now())
        self.tokens: dict[str, str] = {}
        self.pipeline = uuid7(SystemClock().now())
        self.key = uuid4()
        self.jobs = [uuid7(SystemClock().now()) for _ in specs]
        self.changes = Changes()
        self.waits: list[dict[str, Any]] = []
        edges = list(edges)
        group = [["group", concurrency["group"], 1]] if concurrency else []
        unmet = [0] * len(specs)
        for _, child in edges:
            unmet[child] += 1
        rows = [
            {
                "id": self.jobs[at],
                "pipeline_id": self.pipeline,
                "tenant": tenant,
                "name": f"job {at}",
                "pool": "default",
                "lane": "normal",
                "unmet": unmet[at],
                "executor": "noop",
                "labels": [],
                "condition": "",
                "continue_on_error": False,
                "retry_max": 0,
                "stage": None,
                "needs": None,
                "spec": {"executor": "noop"},
                **spec,
                "holds": [*group, *spec.get("holds", ())] or None,
            }
            for at, spec in enumerate(specs)
        ]
        pipeline: dict[str, Any] = {
            "id": self.pipeline, "tenant": tenant, "key": self.key, "hash": "00", "name": "test",
            "trigger": "api", "git": None, "definition": {}, "sha256": None, "inputs": None, "env": None,
            "concurrency": concurrency,
        }  # fmt: skip
        pairs = [
            {"parent_id": self.jobs[parent], "child_id": self.jobs[child], "pipeline_id": self.pipeline}
            for parent, child in edges
        ]
        self.accepted = requests.accept(db, self.changes, [pipeline], rows, pairs, actor=ACTOR)

    def claim(self, *numbers: int, lease_seconds: float = 15.0) -> list[int]:
        """Claim these jobs; returns those that were won. What stood before the others is in `waits`."""
        ids = sorted(self.jobs[number] for number in numbers)
        tokens = {job_id: uuid4() for job_id in ids}
        rows = [
            {"job_id": job_id, "token": tokens[job_id], "session_id": self.session, "n": 1} for job_id in ids
        ]
        won, self.waits = jobs.claim(self.db, self.changes, rows, lease_seconds=lease_seconds, actor=ACTOR)
        self.tokens.update({job_id: tokens[job_id] for job_id in won})
        return [self.jobs.index(job_id) for job_id in won]

    def start(self, *numbers: int, ttl_seconds: float = 15.0) -> set[str]:
        """Report these as started; returns ids whose token is current."""
        rows = [{"job_id": self.jobs[n], "token": self.tokens[self.jobs[n]]} for n in numbers]
        return jobs.start(self.db, self.changes, rows, ttl_seconds=ttl_seconds, actor=ACTOR)

    def finish(self, *numbers: int, token: str = "", success: bool = True, **more: Any) -> set[str]:
        """Report these as ended; returns accepted ids."""
        rows = [
            {
                "job_id": self.jobs[n],
                "token": token or self.tokens[self.jobs[n]],
                "success": success,
                "ran": True,
                "exit_code": 0 if success else 1,
                "reason": None if success else "exit-code",
                "duration_ms": 5,
                "last_seq": 0,
                "jitter": 0.0,
                **more,
            }
            for n in numbers
        ]
        return jobs.finish(self.db, self.changes, rows, policy=POLICY, actor=ACTOR)

    def run(self, *numbers: int, success: bool = True) -> None:
        """Claim and finish these."""
        self.claim(*numbers)
        self.finish(*numbers, success=success)

    def states(self) -> list[str]:
        """State of each job."""
        states = jobs.states(self.db, self.pipeline)
        return [states[job_id] for job_id in self.jobs]

    def state(self) -> str:
        """State of the pipeline."""
        return str(requests.newest_status(self.db, [self.pipeline])[0]["state"])

    def history(self, number: int) -> list[tuple[int, str | None, str, str | None]]:
        """(version, previous, state, reason) of a job, by version."""
        return jobs.history(self.db, self.jobs[number])
