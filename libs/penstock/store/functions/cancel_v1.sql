-- Cancels pipelines, or single jobs of them, in one transaction. wishes: [{tenant, pipeline_id, job_id}], the job
-- null for a whole pipeline. Of several, those behind the first 1,000 jobs are left for another call. What runs or
-- may run becomes CANCELLING, token kept; all else that is not terminal becomes CANCELLED at once. A grace timer is
-- set for the grace of their spec (left out there: 30 s) and the 10 s that the order and the report may take.
-- Waiting cancels of the same count as applied, and give the reason of the transitions where all of them were asked for
-- by a rule (superseded, fail-fast); it is cancelled else.
-- Returns {outbox_id, events, outcomes}: the outcome of each wish that was taken, in their order, is absent (the
-- pipeline, as if another tenant's), no-such-job (the pipeline has none of that id), terminal or cancelled; events
-- hold stops.
CREATE OR REPLACE FUNCTION cancel_v1(wishes json, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at        timestamptz := clock_v1();
    targets   uuid[];
    because   text[];
    named     uuid[];
    whole     uuid[];
    causes    text[];
    changed   jobs[];
    ended     jobs[];
    stops     json;
    cancelled pipelines[];
    touched   uuid[];
    events    json := json_build_array();
    outbox_id uuid;
BEGIN
    IF json_array_length(wishes) > 1 THEN
        -- A pipeline's counts may be old, but their sum never changes.
        SELECT json_agg(w.wish ORDER BY w.n) FILTER (WHERE w.before < 1000) INTO wishes
        FROM (SELECT a.wish, a.n, coalesce(sum(s.size) OVER (ORDER BY a.n
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS before
            FROM json_array_elements(wishes) WITH ORDINALITY AS a(wish, n)
            LEFT JOIN LATERAL (SELECT CASE WHEN a.wish ->> 'job_id' IS NOT NULL THEN 1
                    ELSE (SELECT sum(c.value::int) FROM json_each_text(p.counts) AS c) END AS size
                FROM pipelines AS p
                WHERE p.id = (a.wish ->> 'pipeline_id')::uuid AND p.tenant = a.wish ->> 'tenant'
                OFFSET 0) AS s ON true) AS w;
    END IF;

    WITH w AS MATERIALIZED (
        SELECT p.id, w.job_id, min(coalesce(c.cause, 'cancelled')) AS cause
        FROM json_to_recordset(wishes) AS w(tenant text, pipeline_id uuid, job_id uuid)
        CROSS JOIN LATERAL (SELECT p.id FROM pipelines AS p
            WHERE p.id = w.pipeline_id AND p.tenant = w.tenant OFFSET 0) AS p
        LEFT JOIN LATERAL (SELECT c.cause FROM cancels AS c WHERE c.pipeline_id = p.id AND c.applied_at IS NULL
            AND c.job_id IS NOT DISTINCT FROM w.job_id OFFSET 0) AS c ON true
        GROUP BY p.id, w.job_id
    ), t AS (
        SELECT j.id, min(w.cause) AS cause FROM w CROSS JOIN LATERAL (SELECT j.id FROM jobs AS j
            WHERE j.pipeline_id = w.id AND (w.job_id IS NULL OR j.id = w.job_id) OFFSET 0) AS j
        GROUP BY j.id
    )
    SELECT (SELECT array_agg(t.id ORDER BY t.id) FROM t), (SELECT array_agg(t.cause ORDER BY t.id) FROM t),
        array_agg(DISTINCT w.id), array_agg(w.id ORDER BY w.id) FILTER (WHERE w.job_id IS NULL),
        array_agg(w.cause ORDER BY w.id) FILTER (WHERE w.job_id IS NULL)
    INTO targets, because, named, whole, causes FROM w;

    PERFORM lock_families_v1(targets);
    PERFORM FROM open_pipelines AS o WHERE o.pipeline_id = ANY (whole
        || ARRAY(SELECT j.pipeline_id FROM jobs AS j WHERE j.id = ANY (targets)
            AND j.id BETWEEN targets[1] AND targets[cardinality(targets)]))
    ORDER BY o.pipeline_id FOR UPDATE OF o;

    -- Behind those locks: two cancellers with the same wishes in another order would wait for each other here.
    UPDATE cancels AS c SET applied_at = at
    FROM json_to_recordset(wishes) AS w(tenant text, pipeline_id uuid, job_id uuid)
    WHERE c.pipeline_id = ANY (named) AND c.pipeline_id = w.pipeline_id AND c.tenant = w.tenant
        AND c.applied_at IS NULL
        AND c.job_id IS NOT DISTINCT FROM w.job_id
        AND EXISTS (SELECT FROM pipelines AS p WHERE p.id = w.pipeline_id AND p.tenant = w.tenant);

    WITH u AS (
        UPDATE jobs AS j SET
            state = CASE WHEN j.token IS NULL THEN 'CANCELLED' ELSE 'CANCELLING' END,
            previous = j.state, version = j.version + 1,
            reason = because[width_bucket(j.id, targets)], changed_at = at
        WHERE j.id = ANY (targets) AND j.id BETWEEN targets[1] AND targets[cardinality(targets)]
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
    SELECT array_agg(u.job ORDER BY (u.job).id),
        array_agg(u.job ORDER BY (u.job).id) FILTER (WHERE (u.job).state = 'CANCELLED'),
        (SELECT coalesce(json_agg(json_build_object('session_id', l.session_id, 'job_id', l.job_id,
            'attempt', l.attempt, 'reason', because[width_bucket(l.job_id, targets)]) ORDER BY l.job_id), '[]') FROM l)
    INTO changed, ended, stops FROM u;

    IF whole IS NOT NULL THEN
        WITH p AS (
            UPDATE pipelines AS p SET state = 'CANCELLING', previous = p.state, version = p.version + 1,
                reason = causes[width_bucket(p.id, whole)], changed_at = at, counts = counts_v1(p.id)
            WHERE p.id = ANY (whole) AND p.state IN ('PENDING', 'RUNNING')
            RETURNING p AS pipeline)
        SELECT array_agg(p.pipeline ORDER BY (p.pipeline).id) INTO cancelled FROM p;
    END IF;
    IF changed IS NOT NULL OR cancelled IS NOT NULL THEN
        touched := ARRAY(SELECT c.id FROM unnest(changed) AS c UNION SELECT c.pipeline_id FROM unnest(changed) AS c
            UNION SELECT c.id FROM unnest(cancelled) AS c);
        events := json_build_array(
            json_build_object('pipelines', record_pipelines_v1(cancelled, actor),
                'jobs', record_jobs_v1(changed, NULL, actor), 'stops', stops),
            CASE WHEN ended IS NOT NULL THEN settle_v1(ended, NULL, at, actor) END);
        outbox_id := publish_v1(events, at, actor);
    END IF;
    RETURN json_build_object('outbox_id', outbox_id, 'events', events, 'outcomes', (
        SELECT coalesce(json_agg(CASE
            WHEN NOT EXISTS (SELECT FROM pipelines AS p WHERE p.id = w.pipeline_id AND p.tenant = w.tenant)
                THEN 'absent'
            WHEN w.job_id IS NOT NULL AND NOT EXISTS (SELECT FROM jobs AS j
                WHERE j.id = w.job_id AND j.pipeline_id = w.pipeline_id) THEN 'no-such-job'
            WHEN coalesce(w.job_id, w.pipeline_id) = ANY (touched) OR EXISTS (SELECT FROM jobs AS j
                WHERE j.pipeline_id = w.pipeline_id AND (w.job_id IS NULL OR j.id = w.job_id)
                    AND j.state = 'CANCELLING') THEN 'cancelled'
            ELSE 'terminal' END ORDER BY w.n), '[]')
        FROM ROWS FROM (json_to_recordset(wishes) AS (tenant text, pipeline_id uuid, job_id uuid))
            WITH ORDINALITY AS w(tenant, pipeline_id, job_id, n)));
END
$$;
