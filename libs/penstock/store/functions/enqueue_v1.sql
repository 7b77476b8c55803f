-- Puts jobs that just became QUEUED into the queue and returns their ready rows. Those whose spec has a limit for
-- waiting there get a queue timer; one of an earlier time in the queue is set anew. A matrix is its pipeline's own:
-- here, and only here, its name gets the pipeline's id before it.
CREATE OR REPLACE FUNCTION enqueue_v1(queued jobs[]) RETURNS json
LANGUAGE sql AS $$
    WITH n AS MATERIALIZED (
        SELECT q.*, s.executor, s.labels, s.resources, s.immediate, (s.spec ->> 'queue')::float8 AS most_seconds,
            CASE WHEN s.holds IS NOT NULL THEN (SELECT json_agg(CASE WHEN h ->> 0 = 'matrix'
                    THEN json_build_array('matrix', q.pipeline_id || '/' || (h ->> 1), h -> 2) ELSE h END)
                FROM json_array_elements(s.holds) AS h) END AS holds
        FROM unnest(queued) AS q CROSS JOIN LATERAL (SELECT * FROM job_specs AS s WHERE s.job_id = q.id OFFSET 0) AS s
    ), timed AS (
        INSERT INTO timers (job_id, kind, due_at)
        SELECT n.id, 'queue', n.changed_at + make_interval(secs => n.most_seconds)
        FROM n WHERE n.most_seconds IS NOT NULL
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at
    ), added AS (
        INSERT INTO ready (job_id, pipeline_id, tenant, pool, lane, executor, labels, queued_at, resources, holds,
            immediate)
        SELECT n.id, n.pipeline_id, n.tenant, n.pool, n.lane, n.executor, n.labels, n.changed_at, n.resources,
            n.holds, n.immediate
        FROM n
        ON CONFLICT (job_id) DO NOTHING
        RETURNING job_id, pipeline_id, tenant, pool, lane, executor, labels, queued_at, resources,
            coalesce(holds, '[]') AS holds, immediate)
    SELECT coalesce(json_agg(a), '[]') FROM added AS a
$$;
