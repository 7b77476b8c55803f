-- Runs a terminal pipeline again as a new one, of_pipeline, with all that was frozen when the first was accepted
-- (protocol §6): from_job and what comes after it; or else, only_failed, the jobs that FAILED or were CANCELLED and
-- what comes after them; or else all. The others are born in the state that they had, with reason reused. The
-- pipeline that is rerun stays as it is: nothing of it is locked, for what is terminal never changes.
-- Idempotent by (tenant, key): hash (hex) is over what is asked for. It joins the group of the first, if that has one.
-- Returns {outbox_id, events, outcome, pipeline_id, state, superseded}; outcome is new, repeat or conflict (of the key:
-- pipeline_id is what it means), absent (as if another tenant's), not-terminal (state says what it is instead),
-- no-such-job, nothing (no job is to be run), or quota-exceeded (too many unfinished jobs); events hold the jobs that
-- wait for the pure decide; superseded [{tenant, pipeline_id}] of older ones that are to be cancelled, of a new one.
CREATE OR REPLACE FUNCTION rerun_v1(of_tenant text, of_key text, of_hash text, of_source uuid, only_failed boolean,
    from_job uuid, of_pipeline uuid, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    source  pipelines;
    old     requests;
    again   uuid[];
    born    jobs[];
    opened  pipelines;
    waiting json;
    events  json;
    stands  text;
    rules   json;
    older   json := '[]';
    room    bigint;
BEGIN
    SELECT * INTO source FROM pipelines AS p WHERE p.id = of_source AND p.tenant = of_tenant;
    IF source.finished_at IS NULL THEN
        stands := coalesce(source.state, (SELECT r.state FROM requests AS r
            WHERE r.pipeline_id = of_source AND r.tenant = of_tenant AND r.state = 'RECEIVED'));
        RETURN json_build_object('events', json_build_array(), 'state', stands,
            'outcome', CASE WHEN stands IS NULL THEN 'absent' ELSE 'not-terminal' END);
    END IF;

    WITH RECURSIVE a AS (
        SELECT j.id FROM jobs AS j WHERE j.pipeline_id = of_source AND CASE
            WHEN from_job IS NOT NULL THEN j.id = from_job
            WHEN only_failed THEN j.state IN ('FAILED', 'CANCELLED') ELSE true END
        UNION
        SELECT e.child_id FROM a CROSS JOIN LATERAL (SELECT e.child_id FROM edges AS e
            WHERE e.parent_id = a.id OFFSET 0) AS e
    )
    SELECT array_agg(a.id) INTO again FROM a;
    IF again IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'state', source.state,
            'outcome', CASE WHEN from_job IS NULL THEN 'nothing' ELSE 'no-such-job' END);
    END IF;

    room := room_v1(of_tenant);  -- a statement of its own: the next sees what was done by those it waited for
    IF cardinality(again) > room
        AND NOT EXISTS (SELECT FROM requests AS r WHERE r.tenant = of_tenant AND r.key = of_key) THEN
        RETURN json_build_object('events', json_build_array(), 'state', source.state, 'outcome', 'quota-exceeded');
    END IF;

    INSERT INTO requests (tenant, key, hash, pipeline_id, state, received_at)
    VALUES (of_tenant, of_key, decode(of_hash, 'hex'), of_pipeline, 'ACCEPTED', at) ON CONFLICT (tenant, key) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO old FROM requests AS r WHERE r.tenant = of_tenant AND r.key = of_key;
        RETURN json_build_object('events', json_build_array(), 'pipeline_id', old.pipeline_id,
            'outcome', CASE WHEN old.hash = decode(of_hash, 'hex') THEN 'repeat' ELSE 'conflict' END,
            'state', coalesce((SELECT p.state FROM pipelines AS p WHERE p.id = old.pipeline_id), old.state));
    END IF;

    INSERT INTO edges (parent_id, child_id)
    SELECT rerun_id_v1(of_pipeline, e.parent_id), rerun_id_v1(of_pipeline, e.child_id)
    FROM jobs AS j CROSS JOIN LATERAL (SELECT * FROM edges AS e WHERE e.parent_id = j.id OFFSET 0) AS e
    WHERE j.pipeline_id = of_source;

    INSERT INTO job_specs (job_id, pipeline_id, stage, executor, labels, condition, needs, spec, resources, holds,
        immediate, matrix, fail_fast, source_job_id)
    SELECT rerun_id_v1(of_pipeline, j.id), of_pipeline, s.stage, s.executor, s.labels, s.condition, s.needs, s.spec,
        s.resources, s.holds, s.immediate, s.matrix, s.fail_fast,
        CASE WHEN j.id NOT IN (SELECT unnest(again)) THEN coalesce(s.source_job_id, j.id) END
    FROM jobs AS j CROSS JOIN LATERAL (SELECT * FROM job_specs AS s WHERE s.job_id = j.id OFFSET 0) AS s
    WHERE j.pipeline_id = of_source;

    -- What is run again begins as at acceptance; of its needs, those that are reused have ended already. A root with a
    -- condition is left to the pure decide.
    WITH o AS MATERIALIZED (
        SELECT j.*, j.id IN (SELECT unnest(again)) AS runs FROM jobs AS j WHERE j.pipeline_id = of_source
    ), n AS (
        INSERT INTO jobs AS n (id, pipeline_id, tenant, name, pool, lane, state, reason, version, unmet, bad_needs,
            retry_max, continue_on_error, conditional, exit_code, changed_at)
        SELECT rerun_id_v1(of_pipeline, o.id), of_pipeline, o.tenant, o.name, o.pool, o.lane,
            CASE WHEN NOT o.runs THEN o.state
                WHEN d.unmet + d.bad = 0 AND NOT o.conditional THEN 'QUEUED' ELSE 'PENDING' END,
            CASE WHEN NOT o.runs THEN 'reused' END, 1, CASE WHEN o.runs THEN d.unmet ELSE 0 END, d.bad,
            o.retry_max, o.continue_on_error, o.conditional, CASE WHEN NOT o.runs THEN o.exit_code END, at
        FROM o CROSS JOIN LATERAL (
            SELECT (count(*) FILTER (WHERE p.runs))::int AS unmet,
                (count(*) FILTER (WHERE NOT p.runs AND p.state <> 'SUCCESS'
                    AND NOT (p.state = 'FAILED' AND p.continue_on_error)))::int AS bad
            FROM edges AS e CROSS JOIN LATERAL (
                SELECT p.state, p.continue_on_error, p.id IN (SELECT unnest(again)) AS runs
                FROM jobs AS p WHERE p.id = e.parent_id OFFSET 0) AS p
            WHERE e.child_id = o.id) AS d
        RETURNING n AS job)
    SELECT array_agg(n.job), json_agg(json_build_object('job_id', (n.job).id, 'pipeline_id', of_pipeline))
        FILTER (WHERE (n.job).state = 'PENDING' AND (n.job).unmet = 0)
    INTO born, waiting FROM n;

    INSERT INTO pipeline_definitions (pipeline_id, definition, sha256, inputs, env, concurrency)
    SELECT of_pipeline, d.definition, d.sha256, d.inputs, d.env, d.concurrency FROM pipeline_definitions AS d
    WHERE d.pipeline_id = of_source
    RETURNING concurrency INTO rules;
    IF rules IS NOT NULL THEN
        older := join_groups_v1(ARRAY[ROW(of_tenant, rules ->> 'group', of_pipeline, at)::concurrency_groups],
            ARRAY[rules]);
    END IF;
    INSERT INTO open_pipelines (pipeline_id, remaining, tenant, grouped)
    VALUES (of_pipeline, cardinality(again), of_tenant, rules IS NOT NULL);
    INSERT INTO pipelines AS n (id, tenant, request_id, name, state, version, trigger, repo, sha, branch, git, counts,
        rerun_of, created_at, changed_at)
    VALUES (of_pipeline, of_tenant, of_key, source.name, 'PENDING', 1, source.trigger, source.repo, source.sha,
        source.branch, source.git, counts_v1(of_pipeline), of_source, at, at)
    RETURNING n.* INTO opened;

    events := json_build_array(json_build_object(
        'pipelines', record_pipelines_v1(ARRAY[opened], actor),
        'jobs', record_jobs_v1(born, NULL, actor),
        'ready', enqueue_v1(ARRAY(SELECT b FROM unnest(born) AS b WHERE b.state = 'QUEUED')),
        'undecided', waiting));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'outcome', 'new', 'pipeline_id', of_pipeline, 'state', opened.state, 'superseded', older);
END
$$;
