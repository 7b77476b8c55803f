-- Ends attempts of these sessions whose run or grace timer is due, at most max_rows: their leases are renewed no
-- more (protocol §3, §4). One that ran too long keeps its lease for its grace and 10 s, so that its end is told
-- before it is taken back. Returns [{session_id, job_id, attempt, reason}] sorted by job: what to order stopped.
CREATE OR REPLACE FUNCTION stop_due_v1(of_sessions uuid[], max_rows int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at  timestamptz := clock_v1();
    due uuid[] := ARRAY(SELECT t.job_id
        FROM timers AS t JOIN leases AS l ON l.job_id = t.job_id AND l.token = t.token
        WHERE t.due_at <= at AND t.kind IN ('run', 'grace') AND l.session_id = ANY (of_sessions)
        ORDER BY t.due_at LIMIT max_rows);
    stopped json;
BEGIN
    PERFORM FROM leases AS l WHERE l.job_id = ANY (due) ORDER BY l.job_id FOR UPDATE OF l;
    WITH gone AS (
        DELETE FROM timers AS t USING leases AS l
        WHERE t.job_id = ANY (due) AND t.due_at <= at AND t.kind IN ('run', 'grace')
            AND l.job_id = t.job_id AND l.token = t.token
        RETURNING t.job_id, t.kind
    ), u AS (
        UPDATE leases AS l SET
            ending = CASE g.kind WHEN 'run' THEN 'run-timeout' ELSE 'cancelled' END,
            expires_at = CASE g.kind WHEN 'run' THEN greatest(l.expires_at, at + make_interval(
                secs => 10 + coalesce((s.spec ->> 'grace')::float8, 30))) ELSE l.expires_at END
        FROM gone AS g CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s
            WHERE s.job_id = g.job_id OFFSET 0) AS s
        WHERE l.job_id = g.job_id
        RETURNING l.session_id, l.job_id, l.attempt, l.ending AS reason)
    SELECT coalesce(json_agg(u ORDER BY u.job_id), '[]') INTO stopped FROM u;
    RETURN stopped;
END
$$;
