"""A good history, made by hand: what each test of a check spoils in one place.

Two pipelines of `default` on two runners. `build`: `a` ends well; `b` is exclusive, needs it and fails once
before it ends well; `c` is lost with its runner, which tells of it too late, and runs again; `d` runs only
after a failure: skipped. `nightly` is cancelled while its only job runs. One request contradicts the first
and is refused.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from penstock.events import topics
from penstock.runtime.clock import rfc3339
from penstock.store.audit import Books, Census
from penstock.testing.history import History
from penstock.testing.history.checks.logs import mark
from penstock.testing.history.past import (
    Ask,
    Fault,
    Log,
    LogLine,
    Peek,
    Poison,
    Replay,
    Run,
    Sample,
    TopicRecord,
    Wish,
)

BEGAN = 1_700_000_000.0
TENANT = "default"
TERMINAL = ("SUCCESS", "FAILED", "CANCELLED", "SKIPPED")
HELD = ("ASSIGNED", "RUNNING", "CANCELLING")
RUNNERS = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in ("runner-0", "runner-1")}
BUILD = {
    "name": "build",
    "jobs": {
        "a": {},
        "b": {"needs": ["a"], "retry": {"max": 1}, "exclusive": True},
        "c": {},
        "d": {"needs": ["a"], "if": "failure()"},
    },
}
NIGHTLY: dict[str, Any] = {"name": "nightly", "jobs": {"n": {}}}

Row = dict[str, Any]


def identity(name: str) -> str:
    """The same UUID for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class Making:
    """Writes rows, records and journals as the services, runners and clients would."""

    def __init__(self) -> None:
        self.at = BEGAN
        self.committed = 100
        self.tables: dict[str, list[Row]] = {
            name: [] for name in Books.__struct_fields__ if name != "read_at"
        }
        self.topics: dict[str, list[TopicRecord]] = {}
        self.runs: dict[tuple[str, int], list[Run]] = {}
        self.logs: dict[tuple[str, int], Log] = {}
        self.tokens: dict[tuple[str, int], str] = {}

    def later(self, seconds: float = 0.1) -> float:
        """A new moment, and a new transaction."""
        self.at += seconds
        self.committed += 1
        return self.at

    def record(self, topic: str, key: str, **value: Any) -> None:
        """One more record of a topic."""
        records = self.topics.setdefault(topic, [])
        records.append(TopicRecord(0, len(records), key, orjson.dumps(value).decode(), {}, self.at))

    def pipeline(self, name: str, key: str, state: str = "PENDING", **more: Any) -> Row:
        """A new pipeline."""
        row = {
            "id": identity(name), "tenant": TENANT, "request_id": key, "name": name, "state": None,
            "version": 0, "reason": None, "counts": {}, "finished_at": None, **more,
        }  # fmt: skip
        self.tables["pipelines"].append(row)
        self.tables["requests"].append(
            {"tenant": TENANT, "key": key, "state": "ACCEPTED", "pipeline_id": row["id"]}
        )
        self.turn(row, state)
        return row

    def turn(self, pipeline: Row, state: str, reason: str | None = None) -> None:
        """The next transition of a pipeline."""
        jobs = [job for job in self.tables["jobs"] if job["pipeline_id"] == pipeline["id"]]
        counts: dict[str, int] = {}
        for job in jobs:
            counts[job["state"]] = counts.get(job["state"], 0) + 1
        previous = pipeline["state"]
        pipeline.update(
            state=state, version=pipeline["version"] + 1, reason=reason or pipeline["reason"], counts=counts
        )
        if state in (*TERMINAL, "REJECTED"):
            pipeline["finished_at"] = rfc3339(self.at)
        row = {
            "pipeline_id": pipeline["id"], "version": pipeline["version"], "state": state,
            "previous": previous, "reason": reason, "at": rfc3339(self.at), "counts": counts,
            "actor": "intake-0", "committed": self.committed,
        }  # fmt: skip
        self.tables["pipeline_transitions"].append(row)
        status = {**row, "tenant": TENANT, "terminal": pipeline["finished_at"] is not None}
        self.record(topics.PIPELINES_STATUS.name, pipeline["id"], **status)

    def job(self, pipeline: Row, name: str, *needs: Row, retry_max: int = 0, exclusive: bool = False) -> Row:
        """A new job: QUEUED, or PENDING when it needs others. Those named a and b lock the same database."""
        row = {
            "id": identity(f"{pipeline['name']}/{name}"), "pipeline_id": pipeline["id"], "tenant": TENANT,
            "name": name, "state": None, "previous": None, "reason": None, "version": 0, "attempt": 0,
            "tries": 0, "infra_tries": 0, "unstarted": 0, "retry_max": retry_max, "token": None,
            "session_id": None, "exit_code": None, "condition": "", "executor": "process", "source": None,
            "exclusive": exclusive, "grace": None, "timeout": None, "needs": [need["id"] for need in needs],
            "holds": [["lock", "db", 1]] if name in "ab" else None,
        }  # fmt: skip
        self.tables["jobs"].append(row)
        self.move(row, "PENDING" if needs else "QUEUED")
        return row

    def move(self, job: Row, state: str, reason: str | None = None, exit_code: int | None = None) -> None:
        """The next transition of a job, with its status record and its hint."""
        previous = job["state"]
        job.update(state=state, previous=previous, reason=reason, version=job["version"] + 1)
        job["exit_code"] = exit_code
        job["token"] = job["token"] if state in HELD else None
        row = {
            "tenant": TENANT, "pipeline_id": job["pipeline_id"], "job_id": job["id"], "name": job["name"],
            "attempt": job["attempt"], "tries": job["tries"], "version": job["version"], "state": state,
            "previous": previous, "terminal": state in TERMINAL, "reason": reason, "exit_code": exit_code,
            "worker": job["session_id"], "at": rfc3339(self.at), "actor": "advancer-0",
            "committed": self.committed,
        }  # fmt: skip
        self.tables["job_transitions"].append(row)
        status = {name: value for name, value in row.items() if name not in ("committed", "actor")}
        self.record(topics.JOBS_STATUS.name, job["pipeline_id"], **status)
        if state == "QUEUED":
            self.record(topics.JOBS_READY["normal"].name, TENANT, jobs=[{"job_id": job["id"]}])

    def claim(self, job: Row, runner: str = "runner-0") -> None:
        """Granted to a runner."""
        self.later()
        job["attempt"] += 1
        job["session_id"] = RUNNERS[runner]
        token = identity(f"token {job['id']} {job['attempt']}")
        self.tokens[job["id"], job["attempt"]] = token
        job["token"] = token
        self.move(job, "ASSIGNED")
        self.record(
            topics.WORKERS_GRANTS.name, RUNNERS[runner], session_id=RUNNERS[runner], n=1,
            grants=[{
                "job_id": job["id"], "attempt": job["attempt"], "token": token, "tenant": TENANT,
                "pipeline_id": job["pipeline_id"], "name": job["name"], "spec": {},
            }],
        )  # fmt: skip

    def start(self, job: Row) -> Run:
        """Its process begins, and that is told."""
        run = Run(job["id"], job["attempt"], self.later())
        self.runs[run.job_id, run.attempt] = [run]
        self.later()
        job["tries"] += 1
        self.move(job, "RUNNING")
        return run

    def attempt_ends(self, job: Row, began: Run | None, **more: Any) -> Row:
        """The row that is kept of an attempt."""
        row = {
            "job_id": job["id"], "attempt": job["attempt"], "session_id": job["session_id"],
            "assigned_at": rfc3339(self.at), "started_at": rfc3339(began.started_at) if began else None,
            "ended_at": rfc3339(self.at), "state": job["state"], "reason": job["reason"],
            "exit_code": job["exit_code"], "duration_ms": 5, "last_seq": 2, "reported": True, "late": None,
            "late_at": None, **more,
        }  # fmt: skip
        self.tables["attempts"].append(row)
        return row

    def end(self, job: Row, run: Run, exit_code: int, state: str, reason: str | None = None) -> Row:
        """Its process ends, its runner tells so, and that is accepted; two lines were printed."""
        run.ended_at, run.exit_code, run.lines = self.later(), exit_code, 2
        key = (job["id"], job["attempt"])
        report = {
            "job_id": key[0], "attempt": key[1], "token": self.tokens[key], "kind": "ended",
            "success": exit_code == 0, "exit_code": exit_code,
        }  # fmt: skip
        self.record(
            topics.JOBS_REPORTS.name, job["pipeline_id"], pipeline_id=job["pipeline_id"], reports=[report]
        )
        self.later()
        self.move(job, state, reason, exit_code)
        self.record(
            topics.WORKERS_CONTROL.name, job["session_id"], session_id=job["session_id"],
            settled=[[*key, "ended", True]], stored=[[*key, 2]],
        )  # fmt: skip
        self.log(*key)
        return self.attempt_ends(job, run)

    def log(self, job_id: str, attempt: int) -> None:
        """Two lines, stored in one chunk."""
        lines = [LogLine(n, "stdout", mark(job_id, attempt, "stdout", n)) for n in (1, 2)]
        self.logs[job_id, attempt] = Log(job_id, attempt, lines)
        self.tables["log_heads"].append(
            {"job_id": job_id, "attempt": attempt, "tenant": TENANT, "lines": 2, "last_seq": 2, "end_seq": 2,
             "closed": True}
        )  # fmt: skip
        self.tables["log_chunks"].append(
            {"job_id": job_id, "attempt": attempt, "first_seq": 1, "last_seq": 2,
             "object_key": f"logs/{TENANT}/20231114/{job_id}/{attempt}/1-2"}
        )  # fmt: skip

    def books(self) -> Books:
        """All rows."""
        for table, keys in (
            ("job_transitions", ("job_id", "version")),
            ("pipeline_transitions", ("pipeline_id", "version")),
            ("attempts", ("job_id", "attempt")),
        ):
            self.tables[table].sort(key=lambda row, keys=keys: tuple(row[key] for key in keys))  # type: ignore[misc]
        return Books(**self.tables, read_at=rfc3339(self.at))


def good() -> History:
    """Nothing is wrong with it."""
    making = Making()
    making.tables["sessions"] = [
        {"session_id": session, "name": f"host/{name}"} for name, session in RUNNERS.items()
    ]
    pipeline, killed_at = _build(making)
    nightly, cancelled_at = _nightly(making)
    refused = making.pipeline("refused", "key-build", "REJECTED")
    making.tables["requests"].pop()
    refused["reason"] = "request-conflict"
    making.record(topics.dlq_of(topics.JOBS_REPORTS.name), "", mark="poison-1")
    making.later(5)
    books = making.books()
    job = next(one for one in books.jobs if one["name"] == "a")
    states: dict[str, int] = {}
    for one in books.jobs:
        states[one["state"]] = states.get(one["state"], 0) + 1
    whole = Census(
        accepted=len(books.jobs), jobs=states, versions=sum(one["version"] for one in books.jobs),
        transitions=len(books.job_transitions), open=0, queued=0,
    )  # fmt: skip
    return History(
        books=books,
        seed=7,
        began_at=BEGAN,
        healed_at=cancelled_at,
        rested_at=making.at,
        asks=[
            Ask(
                key="key-build", definition=BUILD, outcome="ok", pipeline_ids=[pipeline["id"]], asked_at=BEGAN
            ),
            Ask(key="key-nightly", definition=NIGHTLY, door="kafka", outcome="info", asked_at=BEGAN),
            Ask(key="key-build", definition=NIGHTLY, expect="conflict", outcome="fail", asked_at=BEGAN),
        ],
        wishes=[Wish(pipeline_id=nightly["id"], outcome="ok", asked_at=cancelled_at)],
        poison=[Poison(topic=topics.JOBS_REPORTS.name, mark="poison-1", outcome="ok", asked_at=BEGAN)],
        topics=making.topics,
        runs=making.runs,
        faults=[Fault(kind="kill", target="runner-1", on=killed_at, off=killed_at, bit=1)],
        logs=making.logs,
        peeks=[Peek("p", job["id"], 1, "QUEUED", BEGAN), Peek("p", job["id"], 4, "SUCCESS", making.at)],
        samples=[Sample(making.at, whole)],
        replays=[Replay(topics.JOBS_REPORTS.name, 5)],
        survivors=[],
        lag={"penstock-advancer": 0},
    )


def _build(making: Making) -> tuple[Row, float]:
    pipeline = making.pipeline("build", "key-build")
    a = making.job(pipeline, "a")
    b = making.job(pipeline, "b", a, retry_max=1, exclusive=True)
    c = making.job(pipeline, "c")
    d = making.job(pipeline, "d", a)
    making.claim(a)
    making.claim(c, "runner-1")
    run, lost = making.start(a), making.start(c)
    making.turn(pipeline, "RUNNING")
    killed_at = making.later()
    making.end(a, run, 0, "SUCCESS")
    making.move(b, "QUEUED")
    making.later()
    making.move(d, "SKIPPED", "condition-false")
    making.claim(b)
    run = making.start(b)
    making.end(b, run, 3, "RETRYING", "exit-code")
    making.later(3)
    c["tries"], c["infra_tries"] = 0, 1
    making.move(c, "QUEUED", "worker-lost")
    kept = making.attempt_ends(c, lost, reported=False)
    making.later(1)
    kept["late"], kept["late_at"] = "ended, success, exit 0", rfc3339(making.at)
    making.move(b, "QUEUED")
    for job in (b, c):
        making.claim(job)
        making.end(job, making.start(job), 0, "SUCCESS")
    making.turn(pipeline, "SUCCESS")
    return pipeline, killed_at


def _nightly(making: Making) -> tuple[Row, float]:
    pipeline = making.pipeline("nightly", "key-nightly")
    job = making.job(pipeline, "n")
    making.claim(job)
    run = making.start(job)
    making.turn(pipeline, "RUNNING")
    cancelled_at = making.later()
    making.tables["cancels"].append(
        {"tenant": TENANT, "pipeline_id": pipeline["id"], "job_id": None, "applied_at": rfc3339(making.at)}
    )
    making.later()
    making.move(job, "CANCELLING", "cancelled")
    making.turn(pipeline, "CANCELLING", "cancelled")
    stop = {"job_id": job["id"], "attempt": 1}
    making.record(topics.WORKERS_CONTROL.name, job["session_id"], session_id=job["session_id"], stop=[stop])
    making.end(job, run, 143, "CANCELLED", "cancelled")
    making.turn(pipeline, "CANCELLED")
    return pipeline, cancelled_at
