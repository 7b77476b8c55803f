"""Mutants in SQL: places of the schema's functions, and what stands there in a mutant."""

from __future__ import annotations

from typing import Final

from penstock.testing.chaos.mutants.mutant import Text

FINISH_WITHOUT_FENCE: Final = (
    Text("finish_v1", "AND j.token = r.token OFFSET 0", "AND j.token IS NOT NULL OFFSET 0"),
)
RENEW_WITHOUT_FENCE: Final = (
    Text(
        "renew_v1",
        "l.job_id = h.job_id AND l.token = h.token AND l.ending",
        "l.job_id = h.job_id AND l.ending",
    ),
    Text(
        "renew_v1",
        "WHERE l.job_id = h.job_id AND l.token = h.token OFFSET 0) AS l ON true",
        "WHERE l.job_id = h.job_id OFFSET 0) AS l ON true",
    ),
)
EXCLUSIVE_LIKE_ANY: Final = (
    Text("claim_v1", "CASE WHEN (s.spec ->> 'exclusive')::boolean", "CASE WHEN false"),
)
RELEASE_WITHOUT_OUTBOX: Final = (
    Text("release_v1", "'outbox_id', publish_v1(events, at, actor)", "'outbox_id', NULL"),
)
_CLAIM_OUT_OF_QUEUE: Final = Text(
    "claim_v1", "array_agg(r.job_id), array_agg(r.job_id)", "ids, array_agg(r.job_id)"
)
"""Else a job that is no longer QUEUED has no place in the queue, either, and is left alone for that."""
CLAIM_WITHOUT_STATE: Final = (
    _CLAIM_OUT_OF_QUEUE,
    Text("claim_v1", "BETWEEN low AND high AND j.state = 'QUEUED'", "BETWEEN low AND high"),
)
CLAIM_WITHOUT_ROWCOUNT: Final = (
    _CLAIM_OUT_OF_QUEUE,
    Text(
        "claim_v1",
        "FROM n CROSS JOIN LATERAL (SELECT p.git",
        "FROM (SELECT n.* FROM n UNION ALL SELECT j, s.spec, NULL FROM jobs AS j JOIN job_specs AS s"
        " ON s.job_id = j.id WHERE j.id = ANY (ids) AND j.state <> 'QUEUED') AS n"
        " CROSS JOIN LATERAL (SELECT p.git",
    ),
    Text(
        "claim_v1",
        "array_agg(n.job), array_agg((n.job).id), json_agg(json_build_object('session_id',"
        " (n.job).session_id,",
        "array_agg(n.job) FILTER (WHERE (n.job).token = ANY (tokens)),"
        " coalesce(array_agg((n.job).id) FILTER (WHERE (n.job).token = ANY (tokens)), '{}'),"
        " json_agg(json_build_object('session_id', sessions[width_bucket((n.job).id, ids)],",
    ),
    Text(
        "claim_v1",
        "'attempt', (n.job).attempt, 'token', (n.job).token,",
        "'attempt', (n.job).attempt, 'token', tokens[width_bucket((n.job).id, ids)],",
    ),
    Text("claim_v1", "IF claimed IS NULL THEN", "IF granted IS NULL THEN"),
)
_CANCELLED_AT_ONCE: Final = Text(
    "cancel_v1",
    "CASE WHEN j.token IS NULL THEN 'CANCELLED' ELSE 'CANCELLING' END,",
    "'CANCELLED', token = NULL,",
)
CANCEL_LEAVES_TOKEN: Final = (
    _CANCELLED_AT_ONCE,
    # The schema refuses a job that has ended and has a token: it is the lease that keeps it good.
    Text("finish_v1", "BETWEEN low AND high AND j.token = r.token OFFSET 0", "BETWEEN low AND high OFFSET 0"),
    Text(
        "finish_v1",
        "WHERE l.job_id = r.job_id OFFSET 0) AS l",
        "WHERE l.job_id = r.job_id AND l.token = r.token OFFSET 0) AS l",
    ),
)
CANCEL_VOIDS_TOKEN: Final = (
    _CANCELLED_AT_ONCE,
    Text(
        "cancel_v1",
        "l AS (\n        UPDATE leases AS l SET cancelling = true WHERE",
        "l AS (\n        DELETE FROM leases AS l WHERE",
    ),
)
ONE_NEED_IS_ENOUGH: Final = (
    Text(
        "settle_v1",
        "j.unmet = met[width_bucket(j.id, children)]",
        "j.unmet >= met[width_bucket(j.id, children)]",
    ),
    Text(
        "settle_v1",
        "unmet = j.unmet - met[width_bucket(j.id, children)]",
        "unmet = CASE WHEN free[width_bucket(j.id, children)] THEN 0"
        " ELSE greatest(0, j.unmet - met[width_bucket(j.id, children)]) END",
    ),
)
_WAITS_FOR: Final = (
    "(SELECT count(*)::int FROM edges AS e JOIN jobs AS n ON n.id = e.parent_id WHERE e.child_id = j.id"
    " AND n.state NOT IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'))"
)
"""As this transaction's snapshot has it: a need that ends at the same moment is still running."""
NEEDS_FROM_SNAPSHOT: Final = (
    Text("lock_families_v1", "WHERE e.parent_id = i AND", "WHERE false AND e.parent_id = i AND"),
    Text("settle_v1", "j.unmet = met[width_bucket(j.id, children)]", f"0 = {_WAITS_FOR}"),
    Text("settle_v1", "unmet = j.unmet - met[width_bucket(j.id, children)]", f"unmet = {_WAITS_FOR}"),
)
CLOCK_OF_THE_SERVICE: Final = (
    Text("expired_sessions_v1", "l.expires_at < clock_v1()", "l.expires_at < clock_v1() + interval '1 hour'"),
    Text("expired_v1", "l.expires_at < clock_v1()", "l.expires_at < clock_v1() + interval '1 hour'"),
    Text("release_v1", "l.expires_at < at ELSE", "l.expires_at < at + interval '1 hour' ELSE"),
)
"""The time that a service whose clock is an hour ahead would give them."""
CANCEL_FOR_ANYBODY: Final = (
    Text("request_cancel_v1", "WHERE j.id = of_job AND j.tenant = of_tenant", "WHERE j.id = of_job"),
    Text(
        "request_cancel_v1", "WHERE p.id = of_pipeline AND p.tenant = of_tenant", "WHERE p.id = of_pipeline"
    ),
    Text(
        "cancel_v1",
        "WHERE p.id = w.pipeline_id AND p.tenant = w.tenant OFFSET 0",
        "WHERE p.id = w.pipeline_id OFFSET 0",
    ),
    Text("cancel_v1", "WHERE p.id = w.pipeline_id AND p.tenant = w.tenant);", "WHERE p.id = w.pipeline_id);"),
)
