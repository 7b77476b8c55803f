-- Puts jobs that just became QUEUED into the queue and returns their ready rows. Those whose spec has a limit for
-- waiting there get a queue timer; one of an earlier time in the queue is set anew.
CREATE OR REPLACE FUNCTION enqueue_v1(queued jobs[]) RETURNS json
LANGUAGE sql AS $$
    WITH n AS MATERIALIZED (
        SELECT q.*, s.executor, s.labels, (s.spec ->> 'queue')::float8 AS most_seconds
        FROM unnest(queued) AS q CROSS JOIN LATERAL (SELECT s.executor, s.labels, s.spec FROM job_specs AS s
            WHERE s.job_id = q.id OFFSET 0) AS s
    ), timed AS (
        INSERT INTO timers (job_id, kind, due_at)
        SELECT n.id, 'queue', n.changed_at + make_interval(secs => n.most_seconds)
        FROM n WHERE n.most_seconds IS NOT NULL
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at
    ), added AS (
        INSERT INTO ready (job_id, pipeline_id, tenant, pool, lane, executor, labels, queued_at)
        SELECT n.id, n.pipeline_id, n.tenant, n.pool, n.lane, n.executor, n.labels, n.changed_at FROM n
        ON CONFLICT (job_id) DO NOTHING
        RETURNING ready.*)
    SELECT coalesce(json_agg(a), '[]') FROM added AS a
$$;
