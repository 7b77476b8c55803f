"""Requests, acceptance, rejection, reruns and cancels: how pipelines come in (protocol §1, §6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from penstock.store.changes import Changes
from penstock.store.database import Database, to_json


class Rerun(msgspec.Struct, frozen=True):
    """A rerun of `source` as `pipeline_id`: of all its jobs, the failed ones, or one; and what follows."""

    tenant: str
    key: str
    digest: str
    """In hex, of what is asked for."""
    source: str
    pipeline_id: str
    only_failed: bool = False
    from_job: str | None = None


class Accepted(NamedTuple):
    """What came of pipelines that were to be accepted, by their ids."""

    accepted: set[str]
    """They were now."""
    cancelled: list[str]
    """Those of them for which a cancel is waiting."""
    superseded: list[tuple[str, str]]
    """(tenant, pipeline) of older ones of which they wrote a cancel."""
    over: list[str]
    """They are too much for their tenant's quota."""


def known(db: Database, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What is known of these (tenant, key): {pipeline_id, hash (hex), state}."""
    rows = db.rows(
        "SELECT r.tenant, r.key, r.pipeline_id::text, encode(r.hash, 'hex'), r.state"
        " FROM unnest(%s::text[], %s::text[]) AS k(tenant, key)"
        " JOIN requests AS r ON r.tenant = k.tenant AND r.key = k.key",
        ([tenant for tenant, _ in keys], [key for _, key in keys]),
    )
    return {(row[0], row[1]): {"pipeline_id": row[2], "hash": row[3], "state": row[4]} for row in rows}


def conflict(db: Database, tenant: str, key: str, digest: str) -> str | None:
    """The id under which this body was refused before for this key, if it was."""
    found: str | None = db.one(
        "SELECT pipeline_id::text FROM request_conflicts"
        " WHERE tenant = %s AND key = %s AND hash = decode(%s, 'hex')",
        (tenant, key, digest),
    )
    return found


def accept(
    db: Database,
    changes: Changes,
    pipelines: Sequence[dict[str, Any]],
    jobs: Sequence[dict[str, Any]],
    edges: Sequence[dict[str, Any]],
    *,
    actor: str,
) -> Accepted:
    """Insert pipelines with jobs and edges (shapes: `accept_v1.sql`)."""
    answer = db.call("accept_v1", to_json(pipelines), to_json(jobs), to_json(edges), actor)
    changes.take(answer)
    superseded = [(one["tenant"], one["pipeline_id"]) for one in answer["superseded"]]
    return Accepted(set(answer["accepted"]), answer["cancelled"], superseded, answer["over"])


def reject(db: Database, changes: Changes, rejections: Sequence[dict[str, Any]], *, actor: str) -> set[str]:
    """Keep refused requests as REJECTED pipelines (shape: `reject_v1.sql`).

    Returns the ids that were written now: not those that are in use already.
    """
    answer = changes.take(db.call("reject_v1", to_json(rejections), actor))
    return set(answer["rejected"])


def newest_status(db: Database, pipeline_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The newest status record of each of these pipelines, for equal repeats."""
    rows = db.rows(
        "SELECT pipeline_record_v1(p) FROM unnest(%s::uuid[]) AS i JOIN pipelines AS p ON p.id = i",
        (list(pipeline_ids),),
    )
    return [row[0] for row in rows]


def receive(
    db: Database, *, tenant: str, key: str, digest: str, pipeline_id: str, body: str, publish_seconds: float
) -> dict[str, Any]:
    """Keep a request before its 2xx. Returns {outcome: new|repeat|conflict, pipeline_id, state}."""
    answer: dict[str, Any] = db.call("receive_v1", tenant, key, digest, pipeline_id, body, publish_seconds)
    return answer


def received(db: Database, tenant: str, key: str) -> dict[str, Any] | None:
    """A request that intake has not applied: {pipeline_id, hash (hex), body}; None: there is none."""
    rows = db.rows(
        "SELECT pipeline_id::text, encode(hash, 'hex'), body FROM requests"
        " WHERE tenant = %s AND key = %s AND state = 'RECEIVED'",
        (tenant, key),
    )
    return {"pipeline_id": rows[0][0], "hash": rows[0][1], "body": rows[0][2]} if rows else None


def rerun(db: Database, changes: Changes, asked: Rerun, *, actor: str) -> dict[str, Any]:
    """Run a terminal pipeline again as a new one.

    Returns {outcome, pipeline_id, state}, of a new one also superseded (`rerun_v1.sql`).
    """
    answer = db.call(
        "rerun_v1",
        asked.tenant,
        asked.key,
        asked.digest,
        asked.source,
        asked.only_failed,
        asked.from_job,
        asked.pipeline_id,
        actor,
    )
    return changes.take(answer)


def unapplied(db: Database, limit: int) -> list[dict[str, Any]]:
    """Requests to publish again: {tenant, key, pipeline_id, body}."""
    answer: list[dict[str, Any]] = db.call("unapplied_v1", limit)
    return answer


def forget(db: Database, *, older_than: float, limit: int) -> int:
    """Delete old requests, conflicts and cancels that nothing refers to, and limits that a report closed and
    that are open again; returns how many rows went.
    """
    gone: int = db.call("forget_v1", older_than, limit)
    return gone


def request_cancel(
    db: Database,
    *,
    cancel_id: str,
    tenant: str,
    pipeline_id: str | None,
    job_id: str | None,
    reason: str,
    requested_by: str,
) -> dict[str, Any]:
    """Keep a cancel before its 202. Returns {outcome: absent|terminal|received, pipeline_id, state}."""
    answer: dict[str, Any] = db.call(
        "request_cancel_v1", cancel_id, tenant, pipeline_id, job_id, reason, requested_by
    )
    return answer


def waiting_cancels(db: Database, limit: int) -> list[dict[str, Any]]:
    """Cancels not applied yet: {tenant, pipeline_id, job_id}."""
    answer: list[dict[str, Any]] = db.call("waiting_cancels_v1", limit)
    return answer


def keep_cancel(db: Database, tenant: str, pipeline_id: str, reason: str) -> None:
    """Keep a cancel of a pipeline that is not known yet; intake applies it when it accepts the pipeline."""
    db.rows(
        "INSERT INTO cancels (cancel_id, tenant, pipeline_id, reason, received_at)"
        " SELECT gen_random_uuid(), %(tenant)s, %(pipeline)s::uuid, %(reason)s, clock_v1()"
        " WHERE NOT EXISTS (SELECT FROM cancels"
        " WHERE tenant = %(tenant)s AND pipeline_id = %(pipeline)s::uuid"
        " AND job_id IS NULL AND applied_at IS NULL)",
        {"tenant": tenant, "pipeline": pipeline_id, "reason": reason},
    )


def cancels_of(db: Database, tenant: str, pipeline_id: str) -> list[str | None]:
    """What cancels of this pipeline wait for: job ids, None for the whole pipeline."""
    rows = db.rows(
        "SELECT DISTINCT job_id::text FROM cancels"
        " WHERE pipeline_id = %s::uuid AND tenant = %s AND applied_at IS NULL",
        (pipeline_id, tenant),
    )
    return [row[0] for row in rows]
