-- Takes attempts back that ended without a report: given back by their runner, or (only_expired) whose lease
-- is over by the database clock. items: [{job_id, token, jitter}].
-- ASSIGNED: QUEUED again, no try spent (start-timeout when expired), FAILED start-refused after max_claims
-- leases in a row that ended without a start; what a runner gives back for want of room does not count.
-- RUNNING, only when expired: QUEUED or, beyond max_infra, FAILED, worker-lost; the start is charged to
-- infra_tries, no longer to tries.
-- RUNNING whose run timer was due: RETRYING (as in finish_v1, with the jitter of its item) or FAILED, run-timeout.
-- CANCELLING: CANCELLED. Returns {outbox_id, events, accepted: [job id]}; events hold undecided children.
CREATE OR REPLACE FUNCTION release_v1(items json, only_expired boolean, retry_base double precision,
    retry_cap double precision, max_infra int, max_claims int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    named   uuid[] := ARRAY(SELECT i.job_id FROM json_to_recordset(items) AS i(job_id uuid) ORDER BY 1);
    low     uuid := named[1];
    high    uuid := named[cardinality(named)];
    changed jobs[];
    queued  jobs[];
    holders uuid[];
    freed   json;
    ended   jobs[];
    events  json;
BEGIN
    PERFORM lock_families_v1(named);
    -- renew_v1 locks leases only. What it renewed until here is seen below, and what it renews from here on
    -- waits and finds the lease gone: an attempt that was told ok is not taken back.
    PERFORM FROM leases AS l WHERE l.job_id = ANY (named) ORDER BY l.job_id FOR UPDATE OF l;

    WITH n AS (
        SELECT j.id, l.session_id, l.assigned_at, l.started_at, l.ending IS NULL AS lost, l.held, l.unblocked_at,
            coalesce(i.jitter, 0) AS jitter, CASE
                WHEN j.state = 'CANCELLING' THEN 'CANCELLED'
                WHEN j.state = 'ASSIGNED' AND only_expired AND j.unstarted + 1 >= max_claims THEN 'FAILED'
                WHEN l.ending IS NOT NULL AND j.tries <= j.retry_max THEN 'RETRYING'
                WHEN l.ending IS NOT NULL THEN 'FAILED'
                WHEN j.state = 'ASSIGNED' OR j.infra_tries < max_infra THEN 'QUEUED'
                ELSE 'FAILED' END AS becomes,
            CASE
                WHEN j.state = 'CANCELLING' THEN j.reason
                WHEN j.state = 'RUNNING' THEN coalesce(l.ending, 'worker-lost')
                WHEN only_expired AND j.unstarted + 1 >= max_claims THEN 'start-refused'
                WHEN only_expired THEN 'start-timeout' END AS why
        FROM json_to_recordset(items) AS i(job_id uuid, token uuid, jitter double precision)
        CROSS JOIN LATERAL (SELECT * FROM jobs AS j
            WHERE j.id = i.job_id AND j.id BETWEEN low AND high AND j.token = i.token OFFSET 0) AS j
        CROSS JOIN LATERAL (SELECT * FROM leases AS l WHERE l.job_id = i.job_id OFFSET 0) AS l
        WHERE l.token = i.token AND CASE WHEN only_expired THEN l.expires_at < at ELSE j.state <> 'RUNNING' END
    ), u AS (
        UPDATE jobs AS j SET state = n.becomes, previous = j.state, version = j.version + 1, reason = n.why,
            tries = j.tries - (j.state = 'RUNNING' AND n.lost)::int,
            infra_tries = j.infra_tries + (j.state = 'RUNNING' AND n.lost)::int,
            unstarted = j.unstarted + (j.state = 'ASSIGNED' AND only_expired)::int, token = NULL,
            changed_at = at
        FROM n WHERE j.id = n.id AND j.id = ANY (named) AND j.id BETWEEN low AND high
        RETURNING j AS job, n.session_id, n.assigned_at, n.started_at, n.held, n.unblocked_at, n.jitter
    ), gone AS (
        DELETE FROM leases AS l WHERE l.job_id = ANY (ARRAY(SELECT (u.job).id FROM u))
    ), untimed AS (
        DELETE FROM timers AS t WHERE t.job_id = ANY (ARRAY(SELECT (u.job).id FROM u)) AND t.kind <> 'retry'
    ), timed AS (
        INSERT INTO timers (job_id, kind, due_at)
        SELECT (u.job).id, 'retry', at + make_interval(secs => u.jitter * least(retry_cap, retry_base
            * 2 ^ greatest(0, least(30, (u.job).tries + (u.job).infra_tries - 1))))
        FROM u WHERE (u.job).state = 'RETRYING'
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at
    ), kept AS (
        INSERT INTO attempts (job_id, attempt, session_id, assigned_at, started_at, ended_at, state, reason,
            reported, unblocked_at)
        SELECT (u.job).id, (u.job).attempt, u.session_id, u.assigned_at, u.started_at, at, (u.job).state,
            (u.job).reason, NOT only_expired, u.unblocked_at
        FROM u
    )
    SELECT array_agg(u.job), array_agg(u.job) FILTER (WHERE (u.job).state = 'QUEUED'),
        array_agg(u.job) FILTER (WHERE (u.job).state NOT IN ('QUEUED', 'RETRYING')),
        array_agg((u.job).id) FILTER (WHERE u.held)
    INTO changed, queued, ended, holders FROM u;

    IF changed IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'accepted', json_build_array());
    END IF;
    IF holders IS NOT NULL THEN
        freed := free_v1(holders);
    END IF;
    events := json_build_array(json_build_object('jobs', record_jobs_v1(changed, NULL, actor),
            'ready', enqueue_v1(queued), 'freed', freed),
        CASE WHEN ended IS NOT NULL THEN settle_v1(ended, NULL, at, actor) END);
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'accepted', (SELECT json_agg(c.id) FROM unnest(changed) AS c));
END
$$;
