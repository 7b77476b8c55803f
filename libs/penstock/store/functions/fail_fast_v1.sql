-- Writes a cancel of every unfinished cell of the matrices that fail fast and of which one of these jobs, which have
-- just ended, FAILED. Returns [{tenant, pipeline_id, job_id}] of what is to be cancelled: now, or by a sweep.
CREATE OR REPLACE FUNCTION fail_fast_v1(ended jobs[], at timestamptz) RETURNS json
LANGUAGE sql AS $$
    WITH m AS MATERIALIZED (
        SELECT DISTINCT e.tenant, e.pipeline_id, s.matrix
        FROM unnest(ended) AS e CROSS JOIN LATERAL (SELECT s.matrix FROM job_specs AS s
            WHERE s.job_id = e.id AND s.fail_fast AND s.matrix IS NOT NULL OFFSET 0) AS s
        WHERE e.state = 'FAILED' AND NOT e.continue_on_error
    ), asked AS (
        INSERT INTO cancels (cancel_id, tenant, pipeline_id, job_id, cause, received_at)
        SELECT gen_random_uuid(), m.tenant, m.pipeline_id, j.id, 'fail-fast', at
        FROM m CROSS JOIN LATERAL (SELECT j.id FROM jobs AS j WHERE j.pipeline_id = m.pipeline_id
            AND j.state NOT IN ('CANCELLING', 'SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED') OFFSET 0) AS j
        CROSS JOIN LATERAL (SELECT FROM job_specs AS s WHERE s.job_id = j.id AND s.matrix = m.matrix OFFSET 0) AS s
        RETURNING tenant, pipeline_id, job_id)
    SELECT json_agg(a ORDER BY a.job_id) FROM asked AS a
$$;
