-- Deletes requests, conflicts and cancels older than keep_seconds, at most max_rows of each, the oldest first; and
-- limits that only a report closed and that are open again. Several reapers at once are safe. A request stays as long
-- as its pipeline is unfinished or not applied yet, a cancel as long as it may still be applied. A conflict is as old
-- as the id that was made for it: a UUIDv7 begins with 48 bits of Unix milliseconds. Returns how many rows went.
CREATE OR REPLACE FUNCTION forget_v1(keep_seconds double precision, max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH b AS MATERIALIZED (
        SELECT clock_v1() - make_interval(secs => keep_seconds) AS before
    ), r AS (
        DELETE FROM requests AS r USING (
            SELECT o.tenant, o.key FROM requests AS o
            WHERE o.received_at < (SELECT b.before FROM b) AND o.state <> 'RECEIVED'
                AND NOT EXISTS (SELECT FROM open_pipelines AS p WHERE p.pipeline_id = o.pipeline_id)
            ORDER BY o.received_at LIMIT max_rows FOR UPDATE SKIP LOCKED) AS old
        WHERE r.tenant = old.tenant AND r.key = old.key
        RETURNING 1
    ), c AS (
        DELETE FROM request_conflicts AS c USING (
            SELECT o.tenant, o.key, o.hash FROM request_conflicts AS o
            WHERE o.pipeline_id < (SELECT rpad(lpad(to_hex((extract(epoch FROM b.before) * 1000)::bigint), 12, '0'),
                32, '0')::uuid FROM b)
            ORDER BY o.pipeline_id LIMIT max_rows FOR UPDATE SKIP LOCKED) AS old
        WHERE c.tenant = old.tenant AND c.key = old.key AND c.hash = old.hash
        RETURNING 1
    ), w AS (
        DELETE FROM cancels AS w USING (
            SELECT o.cancel_id FROM cancels AS o
            WHERE o.received_at < (SELECT b.before FROM b)
                AND NOT EXISTS (SELECT FROM open_pipelines AS p WHERE p.pipeline_id = o.pipeline_id)
                AND NOT EXISTS (SELECT FROM requests AS q
                    WHERE q.pipeline_id = o.pipeline_id AND q.state = 'RECEIVED')
            ORDER BY o.received_at LIMIT max_rows FOR UPDATE SKIP LOCKED) AS old
        WHERE w.cancel_id = old.cancel_id
        RETURNING 1
    ), l AS (
        DELETE FROM limits AS l USING (
            SELECT o.tenant, o.kind, o.name FROM limits AS o WHERE o.per_second IS NULL AND o.closed_until < clock_v1()
            ORDER BY o.closed_until LIMIT max_rows FOR UPDATE SKIP LOCKED) AS old
        WHERE l.tenant = old.tenant AND l.kind = old.kind AND l.name = old.name
        RETURNING 1)
    SELECT to_json((SELECT count(*) FROM r) + (SELECT count(*) FROM c) + (SELECT count(*) FROM w)
        + (SELECT count(*) FROM l))
$$;
