-- Requests that intake has not applied yet and whose next publication is due, at most max_rows; the wait
-- doubles from 2 to 60 s. Returns [{tenant, key, pipeline_id, body}].
CREATE OR REPLACE FUNCTION unapplied_v1(max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH due AS (
        SELECT r.tenant, r.key FROM requests AS r WHERE r.state = 'RECEIVED' AND r.publish_at <= clock_v1()
        ORDER BY r.publish_at LIMIT max_rows FOR UPDATE SKIP LOCKED
    ), u AS (
        UPDATE requests AS r SET publishes = r.publishes + 1,
            publish_at = clock_v1() + make_interval(secs => least(60, 2 * 2 ^ least(r.publishes + 1, 5)))
        FROM due WHERE r.tenant = due.tenant AND r.key = due.key
        RETURNING r.tenant, r.key, r.pipeline_id, r.body)
    SELECT coalesce(json_agg(u), '[]') FROM u
$$;
