-- Sessions of living attempts whose run or grace timer is due, sorted: [session id]. Not bounded, as in
-- expired_sessions_v1.
CREATE OR REPLACE FUNCTION due_sessions_v1() RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at timestamptz := clock_v1();
BEGIN
    RETURN to_json(ARRAY(SELECT DISTINCT l.session_id
        FROM timers AS t JOIN leases AS l ON l.job_id = t.job_id AND l.token = t.token
        WHERE t.due_at <= at AND t.kind IN ('run', 'grace') ORDER BY 1));
END
$$;
