-- Settles what follows from jobs that just became terminal, in their transaction (protocol §5): children are
-- lowered, those that are free to go are QUEUED, pipelines are counted down and closed. begun: pipelines of
-- which a job just started. The caller holds the locks of lock_families_v1.
-- Returns {jobs, ready, pipelines, freed, undecided, wishes}; undecided, [{job_id, pipeline_id}], are children
-- that wait for the pure decide; wishes, [{tenant, pipeline_id, job_id}], cancels that a matrix asks for.
CREATE OR REPLACE FUNCTION settle_v1(ended jobs[], begun uuid[], at timestamptz, actor text) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    parents   uuid[] := ARRAY(SELECT e.id FROM unnest(ended) AS e ORDER BY e.id);
    owners    uuid[] := ARRAY(SELECT DISTINCT e.pipeline_id FROM unnest(ended) AS e);
    children  uuid[];
    met       int[];
    bad       int[];
    free      boolean[];
    queued    jobs[];
    undecided json;
    closed    uuid[];
    grouped   uuid[];
    failed    boolean;
    opened    pipelines[];
    finished  pipelines[];
BEGIN
    WITH lowered AS (
        SELECT e.child_id, count(*)::int AS met,
            (count(*) FILTER (WHERE p.state <> 'SUCCESS'
                AND NOT (p.state = 'FAILED' AND p.continue_on_error)))::int AS bad
        FROM unnest(ended) AS p CROSS JOIN LATERAL (SELECT e.child_id FROM edges AS e
            WHERE e.parent_id = p.id AND e.parent_id BETWEEN parents[1] AND parents[cardinality(parents)]
            OFFSET 0) AS e
        GROUP BY e.child_id
    )
    SELECT array_agg(l.child_id ORDER BY l.child_id), array_agg(l.met ORDER BY l.child_id),
        array_agg(l.bad ORDER BY l.child_id)
    INTO children, met, bad FROM lowered AS l;

    IF children IS NOT NULL THEN
        free := ARRAY(SELECT j.state = 'PENDING' AND NOT j.conditional AND j.unmet = met[width_bucket(j.id, children)]
                AND j.bad_needs + bad[width_bucket(j.id, children)] = 0
            FROM jobs AS j WHERE j.id = ANY (children)
                AND j.id BETWEEN children[1] AND children[cardinality(children)] ORDER BY j.id);
        WITH u AS (
            UPDATE jobs AS j SET
                unmet = j.unmet - met[width_bucket(j.id, children)],
                bad_needs = j.bad_needs + bad[width_bucket(j.id, children)],
                state = CASE WHEN free[width_bucket(j.id, children)] THEN 'QUEUED' ELSE j.state END,
                previous = CASE WHEN free[width_bucket(j.id, children)] THEN j.state ELSE j.previous END,
                version = j.version + free[width_bucket(j.id, children)]::int,
                changed_at = CASE WHEN free[width_bucket(j.id, children)] THEN at ELSE j.changed_at END
            WHERE j.id = ANY (children) AND j.id BETWEEN children[1] AND children[cardinality(children)]
            RETURNING j AS job
        )
        SELECT array_agg(u.job) FILTER (WHERE free[width_bucket((u.job).id, children)]),
            json_agg(json_build_object('job_id', (u.job).id, 'pipeline_id', (u.job).pipeline_id))
                FILTER (WHERE (u.job).state = 'PENDING' AND (u.job).unmet = 0)
        INTO queued, undecided FROM u;
    END IF;

    -- One row of open_pipelines is the lock of its pipeline; of several, in order.
    IF cardinality(owners || begun) > 1 OR cardinality(begun) > 0 THEN
        PERFORM FROM open_pipelines AS o WHERE o.pipeline_id = ANY (owners || begun)
        ORDER BY o.pipeline_id FOR UPDATE OF o;
    END IF;

    IF cardinality(begun) > 0 THEN
        WITH u AS (
            UPDATE pipelines AS p SET state = 'RUNNING', previous = p.state, version = p.version + 1,
                started_at = at, changed_at = at, counts = counts_v1(p.id)
            FROM unnest(begun) AS b WHERE p.id = b AND p.state = 'PENDING'
            RETURNING p AS pipeline)
        SELECT array_agg(u.pipeline) INTO opened FROM u;
    END IF;

    WITH n AS (
        SELECT e.pipeline_id, count(*)::int AS ends,
            bool_or(e.state = 'FAILED' AND NOT e.continue_on_error) AS failed
        FROM unnest(ended) AS e GROUP BY e.pipeline_id
    ), u AS (
        UPDATE open_pipelines AS o SET remaining = o.remaining - n.ends
        FROM n WHERE o.pipeline_id = n.pipeline_id
        RETURNING o.pipeline_id, o.remaining, o.grouped, n.failed)
    SELECT array_agg(u.pipeline_id) FILTER (WHERE u.remaining = 0),
        array_agg(u.pipeline_id) FILTER (WHERE u.remaining = 0 AND u.grouped),
        bool_or(u.failed AND u.remaining > 0)
    INTO closed, grouped, failed FROM u;

    IF closed IS NOT NULL THEN
        finished := close_v1(closed, at);
    END IF;

    -- Null where there is nothing: a statement over no rows has its price, too.
    RETURN json_build_object(
        'jobs', CASE WHEN queued IS NOT NULL THEN record_jobs_v1(queued, NULL, actor) END,
        'ready', CASE WHEN queued IS NOT NULL THEN enqueue_v1(queued) END,
        'pipelines', CASE WHEN opened || finished IS NOT NULL
            THEN record_pipelines_v1(opened || finished, actor) END,
        'freed', CASE WHEN grouped IS NOT NULL THEN leave_groups_v1(grouped) END,
        'undecided', undecided,
        'wishes', CASE WHEN failed THEN fail_fast_v1(ended, at) END);
END
$$;
