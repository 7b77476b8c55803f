-- Takes in heartbeats: worker rows, and one more ttl_seconds for every started lease they hold, unless a timer
-- has ended it (protocol §3); those of exclusive attempts get as long as each of theirs lasts.
-- heartbeats: [{session_id, n, kind, name, pool, state, slots, capacity, labels}]; the newest a session.
-- held: [{session_id, job_id, attempt, token, ended}]; a lease that is only granted is not renewed, but one
-- whose attempt ended before its start was told is: its report is on its way.
-- Returns [{session_id, job_id, attempt, verdict, started, ending}] sorted by session and job: ok, cancel or void;
-- started false: the lease waits for start_v1; ending: why a timer ended it, else null.
CREATE OR REPLACE FUNCTION renew_v1(heartbeats json, held json, ttl_seconds double precision) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at timestamptz := clock_v1();
BEGIN
    INSERT INTO workers AS w (session_id, kind, name, pool, state, slots, capacity, labels, heartbeat,
        attempts, registered_at, seen_at)
    SELECT h.session_id, h.kind, h.name, h.pool, h.state, h.slots, h.capacity, h.labels, h.n, h.attempts, at, at
    FROM json_to_recordset(heartbeats) AS h(session_id uuid, n bigint, kind text, name text, pool text,
        state text, slots int, capacity json, labels text[], attempts int)
    ORDER BY h.session_id
    ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, slots = excluded.slots,
        capacity = excluded.capacity, labels = excluded.labels, heartbeat = excluded.heartbeat,
        attempts = excluded.attempts, seen_at = at
        WHERE w.heartbeat < excluded.heartbeat;

    -- Look-ups a row, here and below: a join, planned while leases were few, would read all of them for each heartbeat.
    PERFORM FROM leases AS l
    WHERE l.job_id = ANY (ARRAY(SELECT h.job_id FROM json_to_recordset(renew_v1.held) AS h(job_id uuid)))
    ORDER BY l.job_id FOR UPDATE OF l;

    UPDATE leases AS l SET expires_at = greatest(l.expires_at,
        at + make_interval(secs => greatest(ttl_seconds, l.lasts)))  -- never shorter: who waited here may be late
    WHERE l.job_id = ANY (ARRAY(SELECT h.job_id
        FROM json_to_recordset(renew_v1.held) AS h(job_id uuid, token uuid, ended boolean)
        CROSS JOIN LATERAL (SELECT FROM leases AS l
            WHERE l.job_id = h.job_id AND l.token = h.token AND l.ending IS NULL
                AND (l.started OR l.cancelling OR h.ended) OFFSET 0) AS l));

    RETURN (SELECT coalesce(json_agg(v ORDER BY v.session_id, v.job_id), '[]') FROM (
        SELECT h.session_id, h.job_id, h.attempt, coalesce(l.started, false) AS started, l.ending,
            CASE WHEN l.job_id IS NULL THEN 'void' WHEN l.cancelling THEN 'cancel' ELSE 'ok' END AS verdict
        FROM json_to_recordset(renew_v1.held) AS h(session_id uuid, job_id uuid, attempt int, token uuid)
        LEFT JOIN LATERAL (SELECT * FROM leases AS l
            WHERE l.job_id = h.job_id AND l.token = h.token OFFSET 0) AS l ON true) AS v);
END
$$;
