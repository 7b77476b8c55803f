-- Leases of these sessions that are over by the database clock: [{job_id, token, session_id}], at most
-- max_rows, oldest first.
CREATE OR REPLACE FUNCTION expired_v1(of_sessions uuid[], max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(json_agg(e), '[]') FROM (
        SELECT l.job_id, l.token, l.session_id FROM leases AS l
        WHERE l.expires_at < clock_v1() AND l.session_id = ANY (of_sessions)
        ORDER BY l.expires_at LIMIT max_rows) AS e
$$;
