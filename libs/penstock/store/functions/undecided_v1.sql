-- What the pure decide needs to know of jobs whose needs are all resolved and which are still PENDING:
-- [{job_id, pipeline_id, condition, cancelling, failed, cancelled, skipped}]. failed counts needs that FAILED
-- (not continue-on-error) or were themselves skipped for a failure; skipped those whose condition was false.
-- Of a need that a rerun took over, it counts why it was skipped where it was decided about.
CREATE OR REPLACE FUNCTION undecided_v1(ids uuid[]) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(json_agg(d ORDER BY d.job_id), '[]') FROM (
        SELECT j.id AS job_id, j.pipeline_id, s.condition, p.state = 'CANCELLING' AS cancelling,
            count(*) FILTER (WHERE (n.state = 'FAILED' AND NOT n.continue_on_error)
                OR (n.state = 'SKIPPED' AND n.why = 'dependency-failed')) AS failed,
            count(*) FILTER (WHERE n.state = 'CANCELLED') AS cancelled,
            count(*) FILTER (WHERE n.state = 'SKIPPED' AND n.why <> 'dependency-failed') AS skipped
        FROM unnest(ids) AS i JOIN jobs AS j ON j.id = i AND j.state = 'PENDING' AND j.unmet = 0
        JOIN job_specs AS s ON s.job_id = j.id
        JOIN pipelines AS p ON p.id = j.pipeline_id
        LEFT JOIN edges AS e ON e.child_id = j.id
        LEFT JOIN LATERAL (SELECT n.state, n.continue_on_error, CASE WHEN n.reason = 'reused'
                THEN coalesce((SELECT o.reason FROM job_specs AS t JOIN jobs AS o ON o.id = t.source_job_id
                    WHERE t.job_id = n.id), n.reason) ELSE n.reason END AS why
            FROM jobs AS n WHERE n.id = e.parent_id OFFSET 0) AS n ON true
        GROUP BY j.id, j.pipeline_id, s.condition, p.state
    ) AS d
$$;
