-- Ends attempts whose token is current and settles what follows, in one transaction.
-- reports: [{job_id, token, success, ran, exit_code, reason, duration_ms, last_seq, jitter}]; ran: a process
-- was started (the start is folded in where it was not reported before); jitter: random in [0, 1).
-- tries are the starts charged to the retry policy: an end by infra-error or worker-lost takes its start back
-- and raises infra_tries instead. A try that may be repeated becomes RETRYING until jitter * min(retry_cap,
-- retry_base * 2^(tries of both kinds - 1)) seconds have passed (full jitter, S89).
-- Returns {outbox_id, events, accepted: [job id]}; events hold undecided children.
CREATE OR REPLACE FUNCTION finish_v1(reports json, retry_base double precision,
    retry_cap double precision, max_infra int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    changed jobs[];
    folded  jobs[];
    ended   jobs[];
    begun   uuid[];
    events  json;
BEGIN
    PERFORM lock_families_v1(ARRAY(SELECT r.job_id FROM json_to_recordset(reports) AS r(job_id uuid)));

    WITH n AS (
        SELECT r.*, l.assigned_at, l.started_at, j.state = 'ASSIGNED' AND r.ran AS fold,
            coalesce(r.reason, '') IN ('infra-error', 'worker-lost') AS infra,
            CASE WHEN j.state = 'CANCELLING' THEN 'CANCELLED'
                WHEN r.success AND (r.ran OR j.state <> 'ASSIGNED') THEN 'SUCCESS'
                WHEN r.reason IN ('infra-error', 'worker-lost') AND j.infra_tries < max_infra THEN 'RETRYING'
                WHEN r.reason IN ('exit-code', 'signal', 'run-timeout')
                    AND j.tries + (j.state = 'ASSIGNED' AND r.ran)::int <= j.retry_max THEN 'RETRYING'
                ELSE 'FAILED' END AS becomes
        FROM json_to_recordset(reports) AS r(job_id uuid, token uuid, success boolean, ran boolean,
            exit_code int, reason text, duration_ms bigint, last_seq bigint, jitter double precision)
        JOIN jobs AS j ON j.id = r.job_id AND j.token = r.token
        -- OFFSET 0 keeps it a look-up a row: a join could become a scan of all leases for each report.
        CROSS JOIN LATERAL (SELECT l.assigned_at, l.started_at FROM leases AS l
            WHERE l.job_id = r.job_id OFFSET 0) AS l
    ), u AS (
        UPDATE jobs AS j SET
            state = n.becomes,
            previous = CASE WHEN n.fold THEN 'RUNNING' ELSE j.state END,
            version = j.version + 1 + n.fold::int,
            tries = j.tries + n.fold::int - (n.infra AND (n.fold OR n.started_at IS NOT NULL))::int,
            infra_tries = j.infra_tries + n.infra::int,
            reason = CASE WHEN n.becomes = 'CANCELLED' THEN 'cancelled'
                WHEN n.becomes = 'SUCCESS' THEN NULL ELSE n.reason END,
            exit_code = n.exit_code, duration_ms = n.duration_ms, token = NULL, changed_at = at
        FROM n WHERE j.id = n.job_id
        RETURNING j AS job, n.fold, n.last_seq, n.jitter, n.assigned_at, n.started_at
    ), gone AS (
        DELETE FROM leases AS l WHERE l.job_id = ANY (ARRAY(SELECT (u.job).id FROM u))
    ), kept AS (
        INSERT INTO attempts (job_id, attempt, session_id, assigned_at, started_at, ended_at, state, reason,
            exit_code, duration_ms, last_seq)
        SELECT (u.job).id, (u.job).attempt, (u.job).session_id, u.assigned_at,
            CASE WHEN u.fold THEN greatest(u.assigned_at,
                at - make_interval(secs => coalesce((u.job).duration_ms, 0) / 1000.0)) ELSE u.started_at END,
            at, (u.job).state, (u.job).reason, (u.job).exit_code, (u.job).duration_ms, u.last_seq
        FROM u
    ), timed AS (
        INSERT INTO timers (job_id, kind, due_at)
        SELECT (u.job).id, 'retry', at + make_interval(secs => u.jitter * least(retry_cap, retry_base
            * 2 ^ greatest(0, least(30, (u.job).tries + (u.job).infra_tries - 1))))
        FROM u WHERE (u.job).state = 'RETRYING'
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at
    )
    SELECT array_agg(u.job), array_agg(u.job) FILTER (WHERE u.fold),
        array_agg(u.job) FILTER (WHERE (u.job).state <> 'RETRYING')
    INTO changed, folded, ended FROM u;

    IF changed IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'accepted', json_build_array());
    END IF;
    begun := begun_v1(folded);
    events := json_build_array(json_build_object('jobs', record_jobs_v1(changed, folded, actor)),
        settle_v1(ended, begun, at, actor));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'accepted', (SELECT json_agg(c.id) FROM unnest(changed) AS c));
END
$$;
