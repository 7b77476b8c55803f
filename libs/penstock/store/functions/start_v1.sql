-- ASSIGNED -> RUNNING for tokens that are current; their leases are renewed for ttl_seconds, or as long as those of
-- exclusive attempts last, and a run timer is set for the timeout of their spec (left out there: 3600 s).
-- starts: [{job_id, token}]. Returns {outbox_id, events, current: [job id]}: current are all those whose
-- token is the living one, also when they were RUNNING already (a repeated report).
CREATE OR REPLACE FUNCTION start_v1(starts json, ttl_seconds double precision, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    named   uuid[] := ARRAY(SELECT s.job_id FROM json_to_recordset(starts) AS s(job_id uuid) ORDER BY 1);
    low     uuid := named[1];
    high    uuid := named[cardinality(named)];
    started jobs[];
    begun   uuid[];
    current uuid[];
    events  json;
BEGIN
    PERFORM FROM jobs AS j WHERE j.id = ANY (named) AND j.id BETWEEN low AND high
    ORDER BY j.id FOR UPDATE OF j;

    current := ARRAY(SELECT s.job_id FROM json_to_recordset(starts) AS s(job_id uuid, token uuid)
        CROSS JOIN LATERAL (SELECT FROM jobs AS j
            WHERE j.id = s.job_id AND j.id BETWEEN low AND high AND j.token = s.token OFFSET 0) AS j);

    WITH u AS (
        UPDATE jobs AS j SET state = 'RUNNING', previous = j.state, version = j.version + 1,
            tries = j.tries + 1, unstarted = 0, changed_at = at
        WHERE j.id = ANY (current) AND j.id BETWEEN low AND high AND j.state = 'ASSIGNED'
        RETURNING j AS job
    ), l AS (
        UPDATE leases AS l SET started = true, started_at = at,
            expires_at = at + make_interval(secs => greatest(ttl_seconds, l.lasts))
        WHERE l.job_id = ANY (ARRAY(SELECT (u.job).id FROM u))
    )
    SELECT array_agg(u.job) INTO started FROM u;

    IF started IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'current', to_json(current));
    END IF;
    INSERT INTO timers (job_id, kind, due_at, token)
    SELECT b.id, 'run', at + make_interval(secs => coalesce((s.spec ->> 'timeout')::float8, 3600)), b.token
    FROM unnest(started) AS b CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s
        WHERE s.job_id = b.id OFFSET 0) AS s
    ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at, token = excluded.token;
    begun := begun_v1(started);
    events := json_build_array(json_build_object('jobs', record_jobs_v1(started, NULL, actor)),
        CASE WHEN cardinality(begun) > 0 THEN settle_v1(NULL, begun, at, actor) END);
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'current', to_json(current));
END
$$;
