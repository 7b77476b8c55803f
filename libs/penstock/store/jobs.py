"""Every transition of a job, side by side: each is one function, one transaction, one compare-and-swap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from penstock.core.lanes import Lane
from penstock.runtime.log import logger
from penstock.runtime.settings import EXCLUSIVE_SECONDS
from penstock.store.changes import Changes
from penstock.store.database import Database, to_json

log = logger(__name__)

_FIRST: Final = "00000000-0000-0000-0000-000000000000"
"""Before all ids."""


class Policy(msgspec.Struct, frozen=True):
    """The numbers of the retry rules (protocol §3, S89); seconds."""

    retry_base: float = 30.0
    retry_cap: float = 600.0
    max_infra: int = 3
    max_claims: int = 20


class Living(NamedTuple):
    """A living attempt, as dispatch counts it."""

    job_id: str
    attempt: int
    tenant: str
    pool: str
    executor: str
    cpu: float
    memory: int
    """Bytes."""


class ReadyKey(NamedTuple):
    """What a sweep compares of a job in the queue."""

    job_id: str
    pool: str
    lane: str
    told: bool
    """Whether it is written why it waits."""


class Claimed(NamedTuple):
    """What came of a claim: the ids that were won, and what stands before those that must wait.

    `waits`: {job_id, kind, name, most, held, holder, since}, or of a limit {job_id, kind, name, opens_at,
    opens_in} (`admit_v1.sql`).
    """

    won: list[str]
    waits: list[dict[str, Any]]


CANCELS_AT_ONCE: Final = 25
"""In a transaction, none of them behind the first 1,000 jobs of it: they are locked until it ends."""


def claim(
    db: Database,
    changes: Changes,
    claims: Sequence[dict[str, Any]],
    *,
    lease_seconds: float,
    exclusive_seconds: float = EXCLUSIVE_SECONDS,
    actor: str,
) -> Claimed:
    """QUEUED -> ASSIGNED. claims: {job_id, token, session_id, n, waited}, sorted by job; `waited` is how many
    seconds ago the last thing but the queue that stood before it was gone, 0 when left out.

    Leases of exclusive jobs and of those with locks last `exclusive_seconds` and the job's grace, all others
    `lease_seconds`.
    """
    answer = db.call(
        "claim_v1",
        [claim["job_id"] for claim in claims],
        [claim["token"] for claim in claims],
        [claim["session_id"] for claim in claims],
        [claim["n"] for claim in claims],
        [claim.get("waited", 0.0) for claim in claims],
        lease_seconds,
        exclusive_seconds,
        actor,
    )
    changes.take(answer)
    return Claimed(answer["claimed"], answer["waits"])


def refuse(db: Database, changes: Changes, job_ids: Sequence[str], *, actor: str) -> None:
    """QUEUED -> FAILED, infra-error, and what follows: of jobs that cannot be claimed. Raises PoisonRow."""
    changes.take(db.call("refuse_v1", list(job_ids), actor))


def start(
    db: Database, changes: Changes, starts: Sequence[dict[str, Any]], *, ttl_seconds: float, actor: str
) -> set[str]:
    """ASSIGNED -> RUNNING. starts: {job_id, token}. Returns the ids whose token is the living one."""
    answer = db.call("start_v1", to_json(starts), ttl_seconds, actor)
    return set(changes.take(answer)["current"])


def finish(
    db: Database, changes: Changes, reports: Sequence[dict[str, Any]], *, policy: Policy, actor: str
) -> set[str]:
    """End of attempts: SUCCESS, FAILED, RETRYING or CANCELLED, and what follows. Returns accepted ids.

    reports: {job_id, token, success, ran, exit_code, reason, duration_ms, last_seq, jitter, limited}; limited
    are [[named resource, seconds]] that it was told to wait for, and may be left out. Of those of a tenant
    1,000 are closed at once, which is told; others stay open.
    """
    answer = db.call(
        "finish_v1", to_json(reports), policy.retry_base, policy.retry_cap, policy.max_infra, actor
    )
    if answer.get("left_open"):
        log.warning("too many named resources of a tenant are closed: others stay open",
                    tenants=answer["left_open"])  # fmt: skip
    return set(changes.take(answer)["accepted"])


def release(
    db: Database,
    changes: Changes,
    items: Sequence[dict[str, Any]],
    *,
    expired: bool,
    policy: Policy,
    actor: str,
) -> set[str]:
    """Attempts without a report: given back, or expired. Returns accepted ids.

    items: {job_id, token}, and `jitter` in [0, 1) for those that may have run too long.
    """
    answer = db.call(
        "release_v1",
        to_json(items),
        expired,
        policy.retry_base,
        policy.retry_cap,
        policy.max_infra,
        policy.max_claims,
        actor,
    )
    return set(changes.take(answer)["accepted"])


def undecided(db: Database, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Facts for the pure decide about those of these jobs that are PENDING with all needs resolved."""
    answer: list[dict[str, Any]] = db.call("undecided_v1", list(job_ids))
    return answer


def resolve(db: Database, changes: Changes, decisions: Sequence[dict[str, Any]], *, actor: str) -> None:
    """PENDING -> QUEUED or SKIPPED. decisions: {job_id, becomes, reason}."""
    changes.take(db.call("resolve_v1", to_json(decisions), actor))


def cancel(
    db: Database, changes: Changes, *, tenant: str, pipeline_id: str, job_id: str | None, actor: str
) -> str:
    """Cancel a pipeline or one job. Returns absent, no-such-job, terminal or cancelled."""
    return cancel_all(db, changes, [(tenant, pipeline_id, job_id)], actor=actor)[0]


def cancel_all(
    db: Database, changes: Changes, wishes: Sequence[tuple[str, str, str | None]], *, actor: str
) -> list[str]:
    """Cancel all of these, (tenant, pipeline, job or None), some in a transaction; the outcome of each."""
    rows = [{"tenant": tenant, "pipeline_id": one, "job_id": job_id} for tenant, one, job_id in wishes]
    outcomes: list[str] = []
    while len(outcomes) < len(rows):
        some = rows[len(outcomes) : len(outcomes) + CANCELS_AT_ONCE]
        outcomes += changes.take(db.call("cancel_v1", to_json(some), actor))["outcomes"]
    return outcomes


def retry_due(db: Database, changes: Changes, *, limit: int, actor: str) -> None:
    """RETRYING -> QUEUED for jobs whose timer is due."""
    changes.take(db.call("retry_due_v1", limit, actor))


def queue_due(db: Database, changes: Changes, *, limit: int, actor: str) -> None:
    """QUEUED -> FAILED, and what follows, for jobs that waited in the queue for longer than they may."""
    changes.take(db.call("queue_due_v1", limit, actor))


def expired_sessions(db: Database) -> list[str]:
    """Sessions that hold leases over by the database clock, sorted."""
    answer: list[str] = db.call("expired_sessions_v1")
    return answer


def expired(db: Database, sessions: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """Leases of these sessions over by the database clock: {job_id, token, session_id}, oldest first."""
    answer: list[dict[str, Any]] = db.call("expired_v1", list(sessions), limit)
    return answer


def lease_counts(db: Database) -> tuple[int, int]:
    """(leases over by the database clock, all leases)."""
    rows = db.rows("SELECT count(*) FILTER (WHERE expires_at < clock_v1()), count(*) FROM leases")
    return rows[0][0], rows[0][1]


def outage(db: Database, reaper: str, *, gap_seconds: float, longest_seconds: float) -> float:
    """Say that this reaper and what it needs are well; what waited over an outage waits on as long.

    Returns the outage's seconds, 0 when there was none, or when another reaper saw to it.
    """
    seconds: float = db.call("outage_v1", reaper, gap_seconds, longest_seconds)
    return seconds


def due_sessions(db: Database) -> list[str]:
    """Sessions with attempts whose run or grace timer is due, sorted."""
    answer: list[str] = db.call("due_sessions_v1")
    return answer


def stop_due(db: Database, sessions: Sequence[str], limit: int) -> list[dict[str, Any]]:
    """End renewal of these sessions' attempts whose run or grace timer is due.

    Returns what to order stopped: {session_id, job_id, attempt, reason}.
    """
    answer: list[dict[str, Any]] = db.call("stop_due_v1", list(sessions), limit)
    return answer


def late(db: Database, reports: Sequence[dict[str, Any]]) -> int:
    """Note refused reports on the attempts they are of: {job_id, attempt, what}.

    Returns how many of them only repeat what was accepted.
    """
    return len(db.call("late_v1", to_json(reports)))


def reconcile(db: Database, changes: Changes, *, limit: int, actor: str) -> list[str]:
    """Close pipelines whose jobs are all terminal and which are open still: ids of those there were."""
    return list(changes.take(db.call("reconcile_v1", limit, actor))["closed"])


def overdue(db: Database) -> tuple[float, float]:
    """Seconds by which the oldest expired lease and the oldest due timer are over; 0 when there is none."""
    rows = db.rows(
        "SELECT greatest(0, coalesce(extract(epoch FROM clock_v1() - min(expires_at)), 0))::float8,"
        " greatest(0, (SELECT coalesce(extract(epoch FROM clock_v1() - min(due_at)), 0) FROM timers))::float8"
        " FROM leases"
    )
    return rows[0][0], rows[0][1]


def lost(db: Database, changes: Changes, *, older_than: float) -> None:
    """Sweep for work whose event was lost: undecided jobs and repaired ready rows go to `changes`."""
    changes.take_events([db.call("lost_v1", older_than)])


def ready_keys(db: Database, *, after: str = _FIRST, most: int | None = None) -> list[ReadyKey]:
    """Of the jobs in the queue behind `after`, by id; no more than `most`."""
    rows = db.rows(
        "SELECT job_id::text, pool, lane, why IS NOT NULL FROM ready WHERE job_id > %s::uuid"
        " ORDER BY job_id LIMIT %s",
        (after, most),
    )
    return [ReadyKey(*row) for row in rows]


def ready_rows(db: Database, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Those of these jobs that are in the queue, oldest first."""
    rows = db.rows(
        "SELECT json_strip_nulls(to_json(r)) FROM unnest(%s::uuid[]) AS i JOIN ready AS r ON r.job_id = i"
        " ORDER BY r.queued_at, r.job_id",
        (list(job_ids),),
    )
    return [row[0] for row in rows]


def held(db: Database, names: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Who holds these names, {tenant, kind, name}: {tenant, kind, name, holder, most, since, job_id}, the
    oldest first.
    """
    rows = db.rows(
        "SELECT to_json(h) FROM unnest(%s::text[], %s::text[], %s::text[]) AS n(tenant, kind, name)"
        " CROSS JOIN LATERAL (SELECT * FROM holds AS h"
        " WHERE h.tenant = n.tenant AND h.kind = n.kind AND h.name = n.name OFFSET 0) AS h"
        " ORDER BY h.since, h.holder",
        tuple([one[field] for one in names] for field in ("tenant", "kind", "name")),
    )
    return [row[0] for row in rows]


def leases_by_session(db: Database) -> dict[str, list[Living]]:
    """The attempts that each session holds, for a dispatcher that takes a pool over."""
    living: dict[str, list[Living]] = {}
    for row in db.call("held_leases_v1"):
        living.setdefault(row.pop("session_id"), []).append(Living(**row))
    return living


def promote(db: Database, changes: Changes, *, tenant: str, job_id: str, lane: Lane, actor: str) -> str:
    """Raise the lane of an unfinished job. Returns absent, terminal, lower, same or promoted."""
    return str(changes.take(db.call("promote_v1", tenant, job_id, lane, actor))["outcome"])


def explain(db: Database, items: Sequence[dict[str, Any]]) -> int:
    """Note why jobs of the queue wait: {job_id, why}, each once; why is None or {reason, detail, text, at}.

    Returns how many of them were news; the moment `at` alone is none.
    """
    news: int = db.call("explain_v1", to_json(items))
    return news


def queue_depth(db: Database) -> list[tuple[str, str, int, float]]:
    """(pool, lane, jobs ready, age in seconds of the oldest)."""
    rows = db.rows(
        "SELECT pool, lane, count(*), extract(epoch FROM clock_v1() - min(queued_at))::float8"
        " FROM ready GROUP BY pool, lane ORDER BY pool, lane"
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def states(db: Database, pipeline_id: str) -> dict[str, str]:
    """Job id -> state of a pipeline's jobs."""
    return dict(db.rows("SELECT id::text, state FROM jobs WHERE pipeline_id = %s::uuid", (pipeline_id,)))


def history(db: Database, job_id: str) -> list[tuple[int, str | None, str, str | None]]:
    """(version, previous, state, reason) of a job, by version."""
    rows = db.rows(
        "SELECT version, previous, state, reason FROM job_transitions WHERE job_id = %s::uuid ORDER BY 1",
        (job_id,),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]
