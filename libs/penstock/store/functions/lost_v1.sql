-- What the sweeps look for, starting at the unfinished pipelines only (protocol §2): jobs whose event or
-- side row was lost. Repairs QUEUED jobs without a ready row and RETRYING jobs without a timer, older_than
-- seconds after they became that: a job that is just being claimed has no ready row either. PENDING jobs that
-- nobody has decided about are told at once: when the last of their needs ended is not kept, and a decision
-- that is made twice counts once.
-- Returns {undecided: [{job_id, pipeline_id}], ready: [ready row]}.
CREATE OR REPLACE FUNCTION lost_v1(older_than double precision) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before  timestamptz := clock_v1() - make_interval(secs => older_than);
    stuck   jobs[];
    waiting json;
BEGIN
    SELECT array_agg(j) FILTER (WHERE j.state = 'QUEUED'
            AND NOT EXISTS (SELECT FROM ready AS r WHERE r.job_id = j.id))
    INTO stuck
    FROM open_pipelines AS o JOIN jobs AS j ON j.pipeline_id = o.pipeline_id
    WHERE j.state = 'QUEUED' AND j.changed_at < before;

    INSERT INTO timers (job_id, kind, due_at)
    SELECT j.id, 'retry', before FROM open_pipelines AS o JOIN jobs AS j ON j.pipeline_id = o.pipeline_id
    WHERE j.state = 'RETRYING' AND j.changed_at < before
    ON CONFLICT (job_id, kind) DO NOTHING;

    SELECT coalesce(json_agg(u), '[]') INTO waiting FROM (
        SELECT j.id AS job_id, j.pipeline_id
        FROM open_pipelines AS o JOIN jobs AS j ON j.pipeline_id = o.pipeline_id
        WHERE j.state = 'PENDING' AND j.unmet = 0 ORDER BY j.id) AS u;
    RETURN json_build_object('undecided', waiting, 'ready', enqueue_v1(stuck));
END
$$;
