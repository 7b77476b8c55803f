-- Cancels one pipeline, or one job of it (of_job). What runs or may run becomes CANCELLING, token kept; all
-- else that is not terminal becomes CANCELLED at once. A grace timer is set for the grace of their spec (left out
-- there: 30 s) and the 10 s that the order and the report may take. Waiting cancels of it count as applied.
-- Returns {outbox_id, events, outcome}: outcome is absent (the pipeline, as if another tenant's), no-such-job (the
-- pipeline has none of that id), terminal or cancelled; events hold stops.
CREATE OR REPLACE FUNCTION cancel_v1(of_tenant text, of_pipeline uuid, of_job uuid, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at        timestamptz := clock_v1();
    changed   jobs[];
    ended     jobs[];
    stops     json;
    cancelled pipelines[];
    events    json;
    outcome   text := 'cancelled';
BEGIN
    IF NOT EXISTS (SELECT FROM pipelines AS p WHERE p.id = of_pipeline AND p.tenant = of_tenant) THEN
        RETURN json_build_object('events', json_build_array(), 'outcome', 'absent');
    END IF;
    UPDATE cancels AS c SET applied_at = at
    WHERE c.pipeline_id = of_pipeline AND c.tenant = of_tenant AND c.applied_at IS NULL AND c.job_id IS NOT DISTINCT FROM of_job;

    IF of_job IS NOT NULL
        AND NOT EXISTS (SELECT FROM jobs AS j WHERE j.id = of_job AND j.pipeline_id = of_pipeline) THEN
        RETURN json_build_object('events', json_build_array(), 'outcome', 'no-such-job');
    END IF;

    PERFORM lock_families_v1(ARRAY(SELECT j.id FROM jobs AS j WHERE j.pipeline_id = of_pipeline
        AND (of_job IS NULL OR j.id = of_job)));
    PERFORM FROM open_pipelines AS o WHERE o.pipeline_id = of_pipeline FOR UPDATE;

    WITH u AS (
        UPDATE jobs AS j SET
            state = CASE WHEN j.token IS NULL THEN 'CANCELLED' ELSE 'CANCELLING' END,
            previous = j.state, version = j.version + 1, reason = 'cancelled', changed_at = at
        WHERE j.pipeline_id = of_pipeline AND (of_job IS NULL OR j.id = of_job)
            AND j.state IN ('PENDING', 'WAITING', 'QUEUED', 'RETRYING', 'ASSIGNED', 'RUNNING')
        RETURNING j AS job
    ), q AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (ARRAY(SELECT (u.job).id FROM u))
    ), t AS (
        DELETE FROM timers AS t WHERE t.job_id = ANY (ARRAY(SELECT (u.job).id FROM u)) AND t.kind <> 'grace'
    ), g AS (
        INSERT INTO timers (job_id, kind, due_at, token)
        SELECT (u.job).id, 'grace', at + make_interval(secs => 10 + coalesce((s.spec ->> 'grace')::float8, 30)),
            (u.job).token
        FROM u CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s WHERE s.job_id = (u.job).id OFFSET 0) AS s
        WHERE (u.job).state = 'CANCELLING'
        ON CONFLICT (job_id, kind) DO UPDATE SET due_at = excluded.due_at, token = excluded.token
    ), l AS (
        UPDATE leases AS l SET cancelling = true WHERE l.job_id = ANY (ARRAY(SELECT (u.job).id FROM u))
        RETURNING l.session_id, l.job_id, l.attempt
    )
    SELECT array_agg(u.job), array_agg(u.job) FILTER (WHERE (u.job).state = 'CANCELLED'),
        (SELECT coalesce(json_agg(json_build_object('session_id', l.session_id, 'job_id', l.job_id,
            'attempt', l.attempt)), '[]') FROM l)
    INTO changed, ended, stops FROM u;

    IF of_job IS NULL THEN
        WITH p AS (
            UPDATE pipelines AS p SET state = 'CANCELLING', previous = p.state, version = p.version + 1,
                reason = 'cancelled', changed_at = at, counts = counts_v1(p.id)
            WHERE p.id = of_pipeline AND p.state IN ('PENDING', 'RUNNING')
            RETURNING p AS pipeline)
        SELECT array_agg(p.pipeline) INTO cancelled FROM p;
    END IF;
    IF changed IS NULL AND cancelled IS NULL THEN
        IF NOT EXISTS (SELECT FROM jobs AS j WHERE j.pipeline_id = of_pipeline
            AND (of_job IS NULL OR j.id = of_job) AND j.state = 'CANCELLING') THEN
            outcome := 'terminal';
        END IF;
        RETURN json_build_object('events', json_build_array(), 'outcome', outcome);
    END IF;
    events := json_build_array(
        json_build_object('pipelines', record_pipelines_v1(cancelled, actor),
            'jobs', record_jobs_v1(changed, NULL, actor), 'stops', stops),
        CASE WHEN ended IS NOT NULL THEN settle_v1(ended, NULL, at, actor) END);
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'outcome', outcome);
END
$$;
