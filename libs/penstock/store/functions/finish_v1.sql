-- Ends attempts whose token is current and settles what follows, in one transaction.
-- reports: [{job_id, token, success, ran, exit_code, reason, duration_ms, last_seq, jitter, limited}]; ran: a process
-- was started (the start is folded in where it was not reported before); jitter: random in [0, 1); limited: null, or
-- [[name, seconds], …] of named resources that told it to wait: for so long no job of its tenant that takes the lock
-- of that name is claimed.
-- tries are the starts charged to the retry policy: an end by infra-error or worker-lost takes its start back
-- and raises infra_tries instead. A try that may be repeated becomes RETRYING until jitter * min(retry_cap,
-- retry_base * 2^(tries of both kinds - 1)) seconds have passed (full jitter, S89).
-- An attempt that its run timer ended is run-timeout, whatever its report says (protocol §3).
-- Returns {outbox_id, events, accepted: [job id], left_open: [tenants of which named resources were left open, because
-- 1,000 others are closed for them, or null]}; events hold undecided children.
CREATE OR REPLACE FUNCTION finish_v1(reports json, retry_base double precision,
    retry_cap double precision, max_infra int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    named   uuid[] := ARRAY(SELECT r.job_id FROM json_to_recordset(reports) AS r(job_id uuid) ORDER BY 1);
    low     uuid := named[1];
    high    uuid := named[cardinality(named)];
    ids     uuid[];
    ends    attempts[];
    folds   boolean[];
    infra   boolean[];
    jitters double precision[];
    holders uuid[];
    freed   json;
    limited json;
    late    text[];
    changed jobs[];
    folded  jobs[];
    ended   jobs[];
    begun   uuid[];
    events  json;
BEGIN
    PERFORM lock_families_v1(named);

    -- What becomes of each attempt, sorted by job, in the shape that is kept of it.
    WITH n AS (
        SELECT r.exit_code, r.duration_ms, r.last_seq, r.jitter, r.limited, j.tenant, j.id, j.attempt, j.session_id,
            l.assigned_at, l.started_at, l.held, l.unblocked_at, j.reason AS cause, e.reason,
            j.state = 'ASSIGNED' AND r.ran AS fold,
            coalesce(e.reason, '') IN ('infra-error', 'worker-lost') AS infra,
            CASE WHEN j.state = 'CANCELLING' THEN 'CANCELLED'
                WHEN r.success AND l.ending IS NULL AND (r.ran OR j.state <> 'ASSIGNED') THEN 'SUCCESS'
                WHEN e.reason IN ('infra-error', 'worker-lost') AND j.infra_tries < max_infra THEN 'RETRYING'
                WHEN e.reason IN ('exit-code', 'signal', 'run-timeout')
                    AND j.tries + (j.state = 'ASSIGNED' AND r.ran)::int <= j.retry_max THEN 'RETRYING'
                ELSE 'FAILED' END AS becomes
        FROM json_to_recordset(reports) AS r(job_id uuid, token uuid, success boolean, ran boolean,
            exit_code int, reason text, duration_ms bigint, last_seq bigint, jitter double precision, limited json)
        -- OFFSET 0 keeps them look-ups a row: a join could become a scan of all leases for each report. Bounds
        -- that are known when the statement starts spare it the partitions that hold none of the jobs.
        CROSS JOIN LATERAL (SELECT * FROM jobs AS j
            WHERE j.id = r.job_id AND j.id BETWEEN low AND high AND j.token = r.token OFFSET 0) AS j
        CROSS JOIN LATERAL (SELECT l.assigned_at, l.started_at, l.ending, l.held, l.unblocked_at
            FROM leases AS l WHERE l.job_id = r.job_id OFFSET 0) AS l
        CROSS JOIN LATERAL (SELECT coalesce(l.ending, r.reason) AS reason) AS e
    )
    SELECT array_agg(n.id ORDER BY n.id), array_agg(n.fold ORDER BY n.id), array_agg(n.infra ORDER BY n.id),
        array_agg(n.jitter ORDER BY n.id), array_agg(ROW(n.id, n.attempt, n.session_id, n.assigned_at,
            CASE WHEN n.fold THEN greatest(n.assigned_at,
                at - make_interval(secs => coalesce(n.duration_ms, 0) / 1000.0)) ELSE n.started_at END,
            at, n.becomes, CASE WHEN n.becomes = 'CANCELLED' THEN n.cause
                WHEN n.becomes = 'SUCCESS' THEN NULL ELSE n.reason END,
            n.exit_code, n.duration_ms, n.last_seq, true, NULL, NULL, n.unblocked_at)::attempts ORDER BY n.id),
        array_agg(n.id) FILTER (WHERE n.held),
        json_agg(json_build_object('tenant', n.tenant, 'limited', n.limited)) FILTER (WHERE n.limited IS NOT NULL)
    INTO ids, folds, infra, jitters, ends, holders, limited FROM n;

    IF ids IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'accepted', json_build_array());
    END IF;
    low := ids[1];
    high := ids[cardinality(ids)];

    WITH u AS (
        UPDATE jobs AS j SET
            state = (ends[width_bucket(j.id, ids)]).state,
            previous = CASE WHEN folds[width_bucket(j.id, ids)] THEN 'RUNNING' ELSE j.state END,
            version = j.version + 1 + folds[width_bucket(j.id, ids)]::int,
            tries = j.tries + folds[width_bucket(j.id, ids)]::int - (infra[width_bucket(j.id, ids)]
                AND (ends[width_bucket(j.id, ids)]).started_at IS NOT NULL)::int,
            infra_tries = j.infra_tries + infra[width_bucket(j.id, ids)]::int,
            reason = (ends[width_bucket(j.id, ids)]).reason,
            exit_code = (ends[width_bucket(j.id, ids)]).exit_code,
            duration_ms = (ends[width_bucket(j.id, ids)]).duration_ms, token = NULL, changed_at = at
        WHERE j.id = ANY (ids) AND j.id BETWEEN low AND high
        RETURNING j AS job
    ), gone AS (
        DELETE FROM leases AS l WHERE l.job_id = ANY (ids)
    ), untimed AS (
        DELETE FROM timers AS t WHERE t.job_id = ANY (ids) AND t.kind <> 'retry'
    ), kept AS (
        INSERT INTO attempts SELECT * FROM unnest(ends)
    ), timed AS (
        INSERT INTO timers (job_id, kind, due_at)
        SELECT (u.job).id, 'retry', at + make_interval(secs => jitters[width_bucket((u.job).id, ids)]
            * least(retry_cap, retry_base
                * 2 ^ greatest(0, least(30, (u.job).tries + (u.job).infra_tries - 1))))
        FROM u WHERE (u.job).state = 'RETRYING'
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at
    )
    SELECT array_agg(u.job), array_agg(u.job) FILTER (WHERE folds[width_bucket((u.job).id, ids)]),
        array_agg(u.job) FILTER (WHERE (u.job).state <> 'RETRYING')
    INTO changed, folded, ended FROM u;

    begun := begun_v1(folded);
    IF limited IS NOT NULL THEN
        late := close_limits_v1((SELECT json_agg(json_build_object('tenant', i.tenant, 'name', one ->> 0,
            'seconds', one ->> 1)) FROM json_to_recordset(limited) AS i(tenant text, limited json)
            CROSS JOIN LATERAL json_array_elements(i.limited) AS one), 1000);
    END IF;
    IF holders IS NOT NULL THEN
        freed := free_v1(holders);
    END IF;
    events := json_build_array(
        json_build_object('jobs', record_jobs_v1(changed, folded, actor), 'freed', freed),
        settle_v1(ended, begun, at, actor));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'accepted', to_json(ids), 'left_open', late);
END
$$;
