-- Accepts pipelines with their jobs, idempotent by (tenant, key) (protocol §1).
-- pipelines: [{id, tenant, key, hash (hex), name, trigger, git, definition, sha256, inputs, env, concurrency}]
-- new_jobs:  [{id, pipeline_id, name, pool, lane, unmet, executor, labels, condition, continue_on_error,
--              retry_max, stage, needs, spec, resources, holds, immediate, matrix, fail_fast}]
-- new_edges: [{parent_id, child_id, pipeline_id}]
-- Those with concurrency {group, cancel_in_progress, queue} join their group.
-- Returns {outbox_id, events, accepted: [pipeline id], cancelled: [pipeline id with a waiting cancel], superseded:
-- [{tenant, pipeline_id} of older ones that are to be cancelled], over: [pipeline id]}; over are too many unfinished
-- jobs for their tenant's quota. A pipeline in neither accepted nor over lost to another body or to an earlier
-- delivery: look it up.
CREATE OR REPLACE FUNCTION accept_v1(pipelines json, new_jobs json, new_edges json, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at        timestamptz := clock_v1();
    over      uuid[] := '{}';
    won       uuid[];
    joining   concurrency_groups[];
    rules     json[];
    older     json := '[]';
    born      jobs[];
    queued    jobs[];
    waits     json;
    opened    pipelines[];
    waiting   uuid[];
    events    json;
BEGIN
    IF EXISTS (SELECT FROM quotas AS q WHERE q.queued IS NOT NULL) THEN
        over := over_quota_v1(pipelines, new_jobs);
    END IF;
    WITH p AS (
        SELECT * FROM json_to_recordset(pipelines) AS p(id uuid, tenant text, key text, hash text)
        WHERE (SELECT old.id FROM pipelines AS old WHERE old.id = p.id) IS NULL AND p.id <> ALL (over)
    ), r AS (
        INSERT INTO requests AS r (tenant, key, hash, pipeline_id, state, received_at)
        SELECT p.tenant, p.key, decode(p.hash, 'hex'), p.id, 'ACCEPTED', at FROM p ORDER BY p.tenant, p.key
        ON CONFLICT (tenant, key) DO UPDATE SET state = 'ACCEPTED', body = NULL, publish_at = NULL
            WHERE r.state = 'RECEIVED' AND r.hash = excluded.hash AND r.pipeline_id = excluded.pipeline_id
        RETURNING r.pipeline_id)
    SELECT array_agg(r.pipeline_id) INTO won FROM r;

    IF won IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'accepted', json_build_array(),
            'cancelled', json_build_array(), 'superseded', json_build_array(), 'over', to_json(over));
    END IF;

    INSERT INTO edges (parent_id, child_id)
    SELECT e.parent_id, e.child_id
    FROM json_to_recordset(new_edges) AS e(parent_id uuid, child_id uuid, pipeline_id uuid)
    WHERE e.pipeline_id = ANY(won);

    WITH n AS (
        SELECT * FROM json_to_recordset(new_jobs) AS n(id uuid, pipeline_id uuid, name text, pool text,
            lane text, unmet int, executor text, labels text[], condition text, continue_on_error boolean,
            retry_max smallint, stage text, needs json, spec json, tenant text, resources json, holds json,
            immediate boolean, matrix text, fail_fast boolean)
        WHERE n.pipeline_id = ANY(won)
    ), s AS (
        INSERT INTO job_specs (job_id, pipeline_id, stage, executor, labels, condition, needs, spec, resources,
            holds, immediate, matrix, fail_fast)
        SELECT n.id, n.pipeline_id, n.stage, n.executor, n.labels, n.condition, n.needs, n.spec, n.resources,
            n.holds, coalesce(n.immediate, false), n.matrix, coalesce(n.fail_fast, false)
        FROM n
    ), j AS (
        INSERT INTO jobs AS j (id, pipeline_id, tenant, name, pool, lane, state, version, unmet, retry_max,
            continue_on_error, conditional, changed_at)
        SELECT n.id, n.pipeline_id, n.tenant, n.name, n.pool, n.lane,
            -- A root that waits for a failure waits for the pure decide: nothing can have failed.
            CASE WHEN n.unmet = 0 AND n.condition <> 'failure' THEN 'QUEUED' ELSE 'PENDING' END, 1,
            n.unmet, n.retry_max, n.continue_on_error, n.condition NOT IN ('', 'success'), at
        FROM n
        RETURNING j AS job)
    SELECT array_agg(j.job), array_agg(j.job) FILTER (WHERE (j.job).state = 'QUEUED'),
        json_agg(json_build_object('job_id', (j.job).id, 'pipeline_id', (j.job).pipeline_id))
            FILTER (WHERE (j.job).state = 'PENDING' AND (j.job).unmet = 0)
    INTO born, queued, waits FROM j;

    WITH p AS (
        SELECT * FROM ROWS FROM (json_to_recordset(pipelines) AS (id uuid, tenant text, definition json,
            sha256 text, inputs json, env json, concurrency json)) WITH ORDINALITY
            AS p(id, tenant, definition, sha256, inputs, env, concurrency, n)
        WHERE p.id = ANY(won)
    ), d AS (
        INSERT INTO pipeline_definitions (pipeline_id, definition, sha256, inputs, env, concurrency)
        SELECT p.id, p.definition, p.sha256, p.inputs, p.env, p.concurrency FROM p)
    SELECT array_agg(ROW(p.tenant, p.concurrency ->> 'group', p.id, at)::concurrency_groups ORDER BY p.n),
        array_agg(p.concurrency ORDER BY p.n)
    INTO joining, rules FROM p WHERE p.concurrency IS NOT NULL;
    IF joining IS NOT NULL THEN
        older := join_groups_v1(joining, rules);
    END IF;

    INSERT INTO open_pipelines (pipeline_id, remaining, tenant, grouped)
    SELECT b.pipeline_id, count(*)::int, b.tenant,
        b.pipeline_id IN (SELECT j.pipeline_id FROM unnest(joining) AS j)
    FROM unnest(born) AS b GROUP BY b.pipeline_id, b.tenant;

    WITH n AS (
        INSERT INTO pipelines AS n (id, tenant, request_id, name, state, version, trigger, repo, sha, branch,
            git, counts, created_at, changed_at)
        SELECT p.id, p.tenant, p.key, p.name, 'PENDING', 1, p.trigger, p.git ->> 'repo', p.git ->> 'sha',
            p.git ->> 'branch', p.git, counts_v1(p.id), at, at
        FROM json_to_recordset(pipelines)
            AS p(id uuid, tenant text, key text, name text, trigger text, git json)
        WHERE p.id = ANY(won)
        RETURNING n AS pipeline)
    SELECT array_agg(n.pipeline) INTO opened FROM n;

    SELECT array_agg(DISTINCT c.pipeline_id) INTO waiting
    FROM unnest(won) AS w JOIN cancels AS c ON c.pipeline_id = w WHERE c.applied_at IS NULL;

    events := json_build_array(json_build_object(
        'pipelines', record_pipelines_v1(opened, actor),
        'jobs', record_jobs_v1(born, NULL, actor),
        'ready', enqueue_v1(queued), 'undecided', waits));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'accepted', to_json(won), 'cancelled', coalesce(to_json(waiting), '[]'), 'superseded', older,
        'over', to_json(over));
END
$$;
