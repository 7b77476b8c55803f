-- Puts jobs that just became QUEUED into the queue and returns their ready rows.
CREATE OR REPLACE FUNCTION enqueue_v1(queued jobs[]) RETURNS json
LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO ready (job_id, pipeline_id, tenant, pool, lane, executor, labels, queued_at)
        SELECT q.id, q.pipeline_id, q.tenant, q.pool, q.lane, s.executor, s.labels, q.changed_at
        FROM unnest(queued) AS q CROSS JOIN LATERAL (SELECT s.executor, s.labels FROM job_specs AS s
            WHERE s.job_id = q.id OFFSET 0) AS s
        ON CONFLICT (job_id) DO NOTHING
        RETURNING ready.*)
    SELECT coalesce(json_agg(a), '[]') FROM added AS a
$$;
