-- Cancels that were accepted and not applied yet, of pipelines that exist: [{tenant, pipeline_id, job_id}].
CREATE OR REPLACE FUNCTION waiting_cancels_v1(max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(json_agg(w), '[]') FROM (
        SELECT c.tenant, c.pipeline_id, c.job_id FROM cancels AS c
        WHERE c.applied_at IS NULL AND EXISTS (SELECT FROM pipelines AS p
            WHERE p.id = c.pipeline_id AND p.tenant = c.tenant)
        ORDER BY c.received_at LIMIT max_rows) AS w
$$;
