"""The client of the benchmarks: pipeline events in, the truth out, and the proof that nothing was skipped."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import orjson

from bench.stack import UnderTest
from penstock.core.ids import uuid7
from penstock.events import topics
from penstock.kafka.records import Outgoing
from penstock.kafka.tail import TailSource

TIMEOUT_SECONDS = 120.0
PATIENCE_SECONDS = 10.0


class ShortCutError(AssertionError):
    """A job that did not go the whole way: the figure would be worth nothing."""


class Door:
    """Submits definitions and waits for their jobs."""

    def __init__(self, subject: UnderTest) -> None:
        self.subject = subject
        self.sent: dict[str, float] = {}
        """Pipeline -> Unix seconds at which it was sent."""

    def submit(self, definitions: list[dict[str, Any]], tenant: str = "default") -> list[str]:
        """One event a definition, in one burst; returns the pipeline ids."""
        ids = [uuid7(time.time()) for _ in definitions]
        records = [
            Outgoing(
                topics.PIPELINES_REQUESTED.name,
                tenant,
                orjson.dumps(
                    {"tenant": tenant, "request_id": one, "pipeline_id": one, "definition": definition}
                ),
                [],
            )
            for one, definition in zip(ids, definitions, strict=True)
        ]
        now = time.time()
        self.sent.update(dict.fromkeys(ids, now))
        self.subject.producer.send(records)
        return ids

    def wait(self, ids: list[str], seconds: float = TIMEOUT_SECONDS, poll_seconds: float = 0.1) -> None:
        """Until all of these pipelines are SUCCESS. Raises ShortCutError when one is not.

        All times are taken from Postgres, so a look now and then will do: each costs it a millisecond.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            states = Counter(
                row[0]
                for row in self.subject.db.rows(
                    "SELECT p.state FROM unnest(%s::uuid[]) AS i JOIN pipelines AS p ON p.id = i", (ids,)
                )
            )
            if states["SUCCESS"] == len(ids):
                return
            if states.keys() & {"FAILED", "REJECTED", "CANCELLED"}:
                raise ShortCutError(f"not all succeeded: {dict(states)}")
            time.sleep(poll_seconds)
        raise ShortCutError(f"only {states['SUCCESS']} of {len(ids)} ended within {seconds:.0f} s")

    def finished_at(self, ids: list[str]) -> float:
        """Unix seconds of the last SUCCESS of these pipelines, database clock."""
        query = (
            "SELECT extract(epoch FROM max(at))::float8 FROM pipeline_transitions"
            " WHERE pipeline_id = ANY(%s::uuid[]) AND state = 'SUCCESS'"
        )
        return float(self.subject.db.one(query, (ids,)))

    def started(self, ids: list[str]) -> dict[str, list[float]]:
        """Pipeline -> Unix seconds at which its jobs became RUNNING, in order."""
        rows = self.subject.db.rows(
            "SELECT pipeline_id::text, array_agg(extract(epoch FROM at)::float8 ORDER BY at)"
            " FROM job_transitions WHERE pipeline_id = ANY(%s::uuid[]) AND state = 'RUNNING' GROUP BY 1",
            (ids,),
        )
        return {row[0]: row[1] for row in rows}

    def waits(self, ids: list[str]) -> list[float]:
        """Submit-to-start of each single-job pipeline in milliseconds: from the client's clock at the produce
        to RUNNING, database clock.
        """
        starts = self.started(ids)
        return [(starts[one][0] - self.sent[one]) * 1000 for one in ids]

    def verify(self, ids: list[str], jobs: int) -> None:
        """Every job has every version in SQL and on the topic, and an attempt of a worker session.

        Raises:
            ShortCutError: something is missing.
        """
        rows = self.subject.db.rows(
            "SELECT job_id::text, array_agg(version ORDER BY version), array_agg(state ORDER BY version)"
            " FROM job_transitions WHERE pipeline_id = ANY(%s::uuid[]) GROUP BY 1",
            (ids,),
        )
        if len(rows) != jobs:
            raise ShortCutError(f"{len(rows)} of {jobs} jobs have a history")
        wanted: set[tuple[str, int]] = set()
        for job_id, versions, states in rows:
            if versions != list(range(1, len(versions) + 1)) or states[-3:] != [
                "ASSIGNED",
                "RUNNING",
                "SUCCESS",
            ]:
                raise ShortCutError(f"job {job_id} went {list(zip(versions, states, strict=True))}")
            wanted.update((job_id, version) for version in versions)
        attempts = self.subject.db.one(
            "SELECT count(DISTINCT a.job_id) FROM jobs AS j JOIN attempts AS a ON a.job_id = j.id"
            " JOIN workers AS w ON w.session_id = a.session_id AND w.kind = 'runner'"
            " WHERE j.pipeline_id = ANY(%s::uuid[])",
            (ids,),
        )
        if attempts != jobs:
            raise ShortCutError(f"{attempts} of {jobs} jobs were run by a worker session")
        # Read only now: a client that listens all the time is not part of the workload.
        back = time.time() - min(self.sent[one] for one in ids) + 1.0
        status = TailSource(self.subject.kafka, [topics.JOBS_STATUS.name], start=back, name="bench")
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while wanted:
                if time.monotonic() > deadline:
                    raise ShortCutError(f"{len(wanted)} transitions are not on the status topic")
                for record in status.poll(0.1):
                    event = orjson.loads(record.value or b"")
                    wanted.discard((event["job_id"], event["version"]))
        finally:
            status.close()


def noop(jobs: dict[str, list[str]], name: str = "bench") -> dict[str, Any]:
    """A definition of no-op jobs: name -> needs."""
    return {
        "name": name,
        "jobs": {
            job: {"executor": "noop", "needs": needs} if needs else {"executor": "noop"}
            for job, needs in jobs.items()
        },
    }


# A broker that has just started compiles its code while it works; peers were measured warm as well.
BURST = noop({f"warm-{n}": [] for n in range(500)})
CHAIN = noop({f"warm-{n:03d}": [f"warm-{n - 1:03d}"] if n else [] for n in range(100)})
WARM_UPS = [BURST] * 6 + [CHAIN] * 5


def warm_up(door: Door) -> None:
    """Run what is not measured."""
    for definition in WARM_UPS:
        door.wait(door.submit([definition]))


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of them lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
