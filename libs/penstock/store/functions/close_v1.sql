-- Ends pipelines whose jobs are all terminal and returns their rows; the caller holds their open_pipelines rows.
CREATE OR REPLACE FUNCTION close_v1(closed uuid[], at timestamptz) RETURNS pipelines[]
LANGUAGE sql AS $$
    WITH tally AS (
        SELECT c.id, bool_or(j.state = 'FAILED' AND NOT j.continue_on_error) AS failed,
            bool_or(j.state = 'CANCELLED') AS cancelled
        FROM unnest(closed) AS c(id) CROSS JOIN LATERAL (SELECT j.state, j.continue_on_error
            FROM jobs AS j WHERE j.pipeline_id = c.id OFFSET 0) AS j GROUP BY c.id
    ), u AS (
        UPDATE pipelines AS p SET
            state = CASE WHEN p.state = 'CANCELLING' THEN 'CANCELLED' WHEN t.failed THEN 'FAILED'
                WHEN t.cancelled THEN 'CANCELLED' ELSE 'SUCCESS' END,
            previous = p.state, version = p.version + 1, finished_at = at, changed_at = at,
            counts = counts_v1(p.id)
        FROM tally AS t WHERE p.id = t.id AND p.state IN ('PENDING', 'RUNNING', 'CANCELLING')
        RETURNING p AS pipeline
    ), gone AS (
        DELETE FROM open_pipelines AS o WHERE o.pipeline_id = ANY (closed))
    SELECT array_agg(u.pipeline) FROM u
$$;
