"""The same operations on a real Postgres, and its rows in the shape of the twin's."""

from __future__ import annotations

from typing import Any

from tests.model.operations import SESSIONS, Answer, Operation

from penstock.core.ids import uuid4
from penstock.store import jobs, outbox, workers
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock.testing.graphs import ACTOR, World
from penstock.testing.model.rows import (
    PIPELINE,
    SILENCE,
    Events,
    Graph,
    Held,
    Job,
    JobRecord,
    Lease,
    Limit,
    Pipeline,
    PipelineRecord,
    Rows,
)  # fmt: skip
from penstock.testing.model.transitions import Need, Stop, Verdict

HOUR = 3600.0
POLICY = jobs.Policy(retry_base=HOUR, retry_cap=HOUR)


class Real:
    """One pipeline on a real Postgres, driven by operations; `db` may be a connection of another thread."""

    def __init__(self, db: Database, graph: Graph) -> None:
        self.db = db
        self.prefix = uuid4() + "/"
        """Of names, so that they are this pipeline's alone."""
        specs = [
            {
                "condition": work.condition,
                "continue_on_error": work.continue_on_error,
                "retry_max": work.retry_max,
                "holds": [
                    [kind, name if kind == "matrix" else self.prefix + name, most]
                    for kind, name, most in work.holds
                    if kind != "group"
                ],
            }
            for work in graph
        ]
        groups = {wish.name for work in graph for wish in work.holds if wish.kind == "group"}
        concurrency = {"group": self.prefix + groups.pop(), "queue": "all"} if groups else None
        edges = [(need, child) for child, work in enumerate(graph) for need in work.needs]
        self.world = World(db, specs, edges, concurrency=concurrency)
        self.number = {job_id: number for number, job_id in enumerate(self.world.jobs)}
        self.sessions = {session: uuid4() for session in SESSIONS}
        self.named = {name: session for session, name in self.sessions.items()}
        self.tokens: dict[tuple[int, int], str] = {}

    def perform(self, operation: Operation, db: Database | None = None) -> Answer:
        """Carry it out; the rows are read by `rows` apart, for they may not be committed yet."""
        db = db or self.db
        changes = Changes()
        said = getattr(self, f"_{operation.name}")(db, changes, operation.arguments)
        for grant in changes.grants:
            if grant["job_id"] in self.number:
                self.tokens[self.number[grant["job_id"]], grant["attempt"]] = grant["token"]
        events = self._events(changes)
        kept = Changes()
        for (parts,) in db.rows(
            "SELECT events FROM outbox WHERE id = ANY(%s::uuid[])", (changes.outbox_ids,)
        ):
            kept.take_events(parts)
        assert operation.name == "lost" or self._events(kept) == events, "the outbox keeps what was told"
        outbox.acked(db, changes.outbox_ids)
        return Answer(None, events, said)  # type: ignore[arg-type]

    def rows(self) -> Rows:
        """What is in the tables now."""
        ids = self.world.jobs
        found = self.db.rows(
            "SELECT j.state, j.unmet, j.previous, j.reason, j.version, j.attempt, j.token, j.tries,"
            " j.infra_tries, j.unstarted, j.bad_needs, l.attempt, l.token, l.session_id::text, l.started,"
            " l.cancelling, l.expires_at < clock_v1(), r.job_id IS NOT NULL, t.due_at <= clock_v1(),"
            " l.ending, m.kind, m.due_at <= clock_v1(), m.token = l.token"
            " FROM unnest(%s::uuid[]) WITH ORDINALITY AS i(id, at) JOIN jobs AS j ON j.id = i.id"
            " LEFT JOIN leases AS l ON l.job_id = j.id LEFT JOIN ready AS r ON r.job_id = j.id"
            " LEFT JOIN timers AS t ON t.job_id = j.id AND t.kind = 'retry'"
            " LEFT JOIN timers AS m ON m.job_id = j.id AND m.kind <> 'retry' ORDER BY i.at",
            (ids,),
        )
        pipeline = self.db.rows(
            "SELECT p.state, p.previous, p.reason, p.version, o.remaining FROM pipelines AS p"
            " LEFT JOIN open_pipelines AS o ON o.pipeline_id = p.id WHERE p.id = %s::uuid",
            (self.world.pipeline,),
        )[0]
        return Rows(
            jobs=tuple(Job(*row[:6], _fence(row), *row[7:11]) for row in found),
            leases=tuple(
                row[11] and Lease(row[11], row[11], self.named[row[13]], *row[14:17], row[19])
                for row in found
            ),
            ready=tuple(row[17] for row in found),
            timers=tuple(row[18] for row in found),
            limits=tuple(row[20] and Limit(row[20], row[11] if row[22] else -1, row[21]) for row in found),
            pipeline=Pipeline(*pipeline[:4]),
            remaining=pipeline[4],
            holds=self._holds(),
        )

    def _holds(self) -> tuple[Held, ...]:
        found = self.db.rows(
            "SELECT kind, name, holder::text, most FROM holds WHERE holder = ANY(%s::uuid[])",
            ([*self.world.jobs, self.world.pipeline],),
        )
        return tuple(
            sorted(
                Held(kind, _last(name), self.number.get(holder, PIPELINE), most)
                for kind, name, holder, most in found
            )
        )

    def _claim(self, db: Database, changes: Changes, claims: Any) -> tuple[int, ...]:
        wanted = sorted((self.world.jobs[number], session) for number, session in claims)
        items = [
            {"job_id": job_id, "token": uuid4(), "session_id": self.sessions[session], "n": 1}
            for job_id, session in wanted
        ]
        return self._numbers(jobs.claim(db, changes, items, lease_seconds=HOUR, actor=ACTOR).won)

    def _refuse(self, db: Database, changes: Changes, numbers: Any) -> tuple[int, ...]:
        jobs.refuse(db, changes, [self.world.jobs[number] for number in numbers], actor=ACTOR)
        return ()

    def _start(self, db: Database, changes: Changes, starts: Any) -> tuple[int, ...]:
        return self._numbers(jobs.start(db, changes, self._items(starts), ttl_seconds=HOUR, actor=ACTOR))

    def _finish(self, db: Database, changes: Changes, ends: Any) -> tuple[int, ...]:
        reports = [
            {
                "job_id": self.world.jobs[end.job], "token": self._token(end.job, end.token),
                "success": end.success, "ran": end.ran, "exit_code": None, "reason": end.reason,
                "duration_ms": 5, "last_seq": 0, "jitter": 0.0 if end.due else 1.0,
            }
            for end in ends
        ]  # fmt: skip
        return self._numbers(jobs.finish(db, changes, reports, policy=POLICY, actor=ACTOR))

    def _release(self, db: Database, changes: Changes, items: Any, *, expired: bool = False) -> Any:
        taken = jobs.release(db, changes, self._items(items), expired=expired, policy=POLICY, actor=ACTOR)
        return self._numbers(taken)

    def _expire(self, db: Database, changes: Changes, items: Any) -> Any:
        return self._release(db, changes, items, expired=True)

    def _over(self, db: Database, _changes: Changes, numbers: Any) -> tuple[int, ...]:
        ids = [self.world.jobs[number] for number in numbers]
        db.rows(
            "UPDATE leases SET expires_at = clock_v1() - interval '1 s' WHERE job_id = ANY(%s::uuid[])",
            (ids,),
        )
        return ()

    def _forget(self, db: Database, _changes: Changes, numbers: Any) -> tuple[int, ...]:
        ids = [self.world.jobs[number] for number in numbers]
        db.rows("DELETE FROM ready WHERE job_id = ANY(%s::uuid[])", (ids,))
        db.rows("DELETE FROM timers WHERE kind = 'retry' AND job_id = ANY(%s::uuid[])", (ids,))
        return ()

    def _renew(self, db: Database, _changes: Changes, holds: Any) -> tuple[Verdict, ...]:
        held = [
            {
                "session_id": self.sessions[SESSIONS[0]], "job_id": self.world.jobs[hold.job],
                "attempt": hold.attempt, "token": self._token(hold.job, hold.token), "ended": hold.ended,
            }
            for hold in holds
        ]  # fmt: skip
        answers = workers.renew(db, [], held, ttl_seconds=HOUR)
        return tuple(
            sorted(
                Verdict(
                    self.number[one["job_id"]], one["attempt"], one["verdict"], one["started"], one["ending"]
                )
                for one in answers
            )
        )

    def _overrun(self, db: Database, _changes: Changes, numbers: Any) -> tuple[int, ...]:
        ids = [self.world.jobs[number] for number in numbers]
        db.rows(
            "UPDATE timers SET due_at = clock_v1() - interval '1 s'"
            " WHERE kind <> 'retry' AND job_id = ANY(%s::uuid[])",
            (ids,),
        )
        return ()

    def _stop_due(self, db: Database, _changes: Changes, _nothing: Any) -> tuple[Stop, ...]:
        stops = jobs.stop_due(db, list(self.sessions.values()), 1000)
        return tuple(
            sorted(
                Stop(
                    self.number[one["job_id"]], self.named[one["session_id"]], one["attempt"], one["reason"]
                )
                for one in stops
            )
        )  # fmt: skip

    def _cancel(self, db: Database, changes: Changes, only: Any) -> tuple[int, ...]:
        job_id = None if only[0] is None else self.world.jobs[only[0]]
        jobs.cancel(
            db, changes, tenant="default", pipeline_id=self.world.pipeline, job_id=job_id, actor=ACTOR
        )
        return ()

    def _retry_due(self, db: Database, changes: Changes, _nothing: Any) -> tuple[int, ...]:
        jobs.retry_due(db, changes, limit=1000, actor=ACTOR)
        return ()

    def _lost(self, db: Database, changes: Changes, aged: Any) -> tuple[int, ...]:
        jobs.lost(db, changes, older_than=0 if aged[0] else HOUR)
        return ()

    def _undecided(self, db: Database, _changes: Changes, numbers: Any) -> tuple[Need, ...]:
        facts = jobs.undecided(db, [self.world.jobs[number] for number in numbers])
        return tuple(
            sorted(
                Need(
                    self.number[one["job_id"]], one["condition"], one["cancelling"], one["failed"],
                    one["cancelled"], one["skipped"],
                )
                for one in facts
            )
        )  # fmt: skip

    def _resolve(self, db: Database, changes: Changes, decisions: Any) -> tuple[int, ...]:
        rows = [
            {"job_id": self.world.jobs[one.job], "becomes": one.becomes, "reason": one.reason}
            for one in decisions
        ]
        jobs.resolve(db, changes, rows, actor=ACTOR)
        return ()

    def _numbers(self, ids: Any) -> tuple[int, ...]:
        return tuple(sorted(self.number[job_id] for job_id in ids))

    def _items(self, items: Any) -> list[dict[str, str]]:
        return [
            {"job_id": self.world.jobs[one.job], "token": self._token(one.job, one.token)} for one in items
        ]

    def _token(self, number: int, token: int) -> str:
        return self.tokens.get((number, token)) or uuid4()

    def _events(self, changes: Changes) -> Events:
        """Events of this pipeline; a scan may have found those of others, too."""
        mine = self.number
        return SILENCE._replace(
            jobs=tuple(
                sorted(
                    JobRecord(
                        mine[one["job_id"]], one["version"], one["previous"], one["state"], one["reason"],
                        one["attempt"], one["tries"],
                    )
                    for one in changes.jobs
                    if one["job_id"] in mine
                )
            ),
            pipelines=tuple(
                sorted(
                    PipelineRecord(one["version"], one["previous"], one["state"], one["reason"])
                    for one in changes.pipelines
                    if one["pipeline_id"] == self.world.pipeline
                )
            ),
            ready=tuple(sorted(mine[one["job_id"]] for one in changes.ready if one["job_id"] in mine)),
            grants=tuple(
                sorted(
                    (self.named[one["session_id"]], mine[one["job_id"]], one["attempt"], one["attempt"])
                    for one in changes.grants
                )
            ),
            stops=tuple(
                sorted(
                    (self.named[one["session_id"]], mine[one["job_id"]], one["attempt"])
                    for one in changes.stops
                )
            ),
            undecided=tuple(
                sorted(mine[one["job_id"]] for one in changes.undecided if one["job_id"] in mine)
            ),
            freed=tuple(
                sorted(
                    {
                        (one["kind"], _last(one["name"]))
                        for one in changes.freed
                        if one["holder"] in mine or one["holder"] == self.world.pipeline
                    }
                )
            ),
        )  # fmt: skip


def _last(name: str) -> str:
    """The twin's name: the real one begins with an id."""
    return name.rpartition("/")[2]


def _fence(row: tuple[Any, ...]) -> int:
    """The number of the attempt whose token the job has: its lease must have the same."""
    if row[6] is None:
        return 0
    return int(row[11]) if row[6] == row[12] else -1
