-- A page of the history: the status records of transitions from since on, of at most max_jobs jobs in the order
-- of (pipeline, job), behind after_pipeline and after_job (null: from the beginning). A pipeline's own records
-- come with its first jobs. Pipelines that had ended before are left out.
-- Returns {pipelines: [record], jobs: [record], pipeline_id, job_id}; the ids are where the next page begins,
-- null when this was the last one.
CREATE OR REPLACE FUNCTION history_page_v1(since timestamptz, after_pipeline uuid, after_job uuid, max_jobs int)
RETURNS json
LANGUAGE sql AS $$
    WITH p AS (
        SELECT p.* FROM pipelines AS p
        WHERE (after_pipeline IS NULL OR p.id >= after_pipeline)
            AND (p.finished_at IS NULL OR p.finished_at >= since)
        -- One more than a page: the first may have nothing left.
        ORDER BY p.id LIMIT max_jobs + 1
    ), picked AS (
        SELECT p.id AS pipeline_id, j.id AS job_id
        FROM p LEFT JOIN LATERAL (
            SELECT j.id FROM jobs AS j WHERE j.pipeline_id = p.id
                AND (p.id IS DISTINCT FROM after_pipeline OR j.id > after_job)
            ORDER BY j.id LIMIT max_jobs) AS j ON true
        WHERE p.id IS DISTINCT FROM after_pipeline OR j.id IS NOT NULL
        ORDER BY p.id, j.id LIMIT max_jobs
    ), of_pipelines AS (
        SELECT json_build_object('tenant', p.tenant, 'pipeline_id', p.id, 'request_id', p.request_id,
            'name', p.name, 'version', t.version, 'state', t.state, 'previous', t.previous,
            'terminal', t.state IN ('REJECTED', 'SUCCESS', 'FAILED', 'CANCELLED'), 'reason', t.reason,
            'at', t.at, 'counts', t.counts, 'git', p.git, 'errors', p.errors, 'rerun_of', p.rerun_of) AS record
        FROM p JOIN pipeline_transitions AS t ON t.pipeline_id = p.id
        WHERE t.at >= since AND p.id IS DISTINCT FROM after_pipeline
            AND p.id IN (SELECT x.pipeline_id FROM picked AS x)
        ORDER BY p.id, t.version
    ), of_jobs AS (
        SELECT t.* FROM picked AS x JOIN job_transitions AS t ON t.job_id = x.job_id
        WHERE t.at >= since ORDER BY x.pipeline_id, t.job_id, t.version
    ), last AS (
        SELECT x.pipeline_id, x.job_id FROM picked AS x
        ORDER BY x.pipeline_id DESC, x.job_id DESC NULLS FIRST LIMIT 1
    )
    SELECT json_build_object(
        'pipelines', (SELECT coalesce(json_agg(o.record), '[]') FROM of_pipelines AS o),
        'jobs', (SELECT coalesce(json_agg(o), '[]') FROM of_jobs AS o),
        'pipeline_id', CASE WHEN x.full THEN (SELECT l.pipeline_id FROM last AS l) END,
        'job_id', CASE WHEN x.full THEN (SELECT l.job_id FROM last AS l) END)
    FROM (SELECT count(*) >= max_jobs AS full FROM picked) AS x
$$;
