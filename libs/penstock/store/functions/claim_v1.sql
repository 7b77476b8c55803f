-- QUEUED -> ASSIGNED for those that still are: token, attempt + 1, a lease of lease_seconds, the grant.
-- Of an exclusive job (its spec says so) every lease lasts exclusive_seconds and its grace (left out there: 30 s),
-- from the claim on; the grant tells it.
-- ids: sorted, each once; tokens, sessions, beats (the heartbeat numbers that the grants echo): one for each id.
-- Refused (SQLSTATE 22023) when they are not.
-- Rows are locked in the order of ids by the one UPDATE that touches jobs here.
-- Ready rows of all of them go: a job that is no longer QUEUED has no place in the queue.
-- Returns {outbox_id, events, claimed: [job id]}.
CREATE OR REPLACE FUNCTION claim_v1(ids uuid[], tokens uuid[], sessions uuid[], beats bigint[],
    lease_seconds double precision, exclusive_seconds double precision, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    low     uuid := ids[1];
    high    uuid := ids[cardinality(ids)];
    claimed jobs[];
    granted json;
    events  json;
BEGIN
    IF ids <> ARRAY(SELECT DISTINCT i FROM unnest(ids) AS i ORDER BY i)
        OR cardinality(ids) <> ALL (ARRAY[cardinality(tokens), cardinality(sessions), cardinality(beats)]) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'claims must be sorted by job, each once';
    END IF;

    WITH gone AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (ids)
    ), u AS (
        -- Bounds that are known when the statement starts spare it the partitions that hold none of them.
        UPDATE jobs AS j SET state = 'ASSIGNED', previous = j.state, version = j.version + 1,
            attempt = j.attempt + 1, token = tokens[width_bucket(j.id, ids)],
            session_id = sessions[width_bucket(j.id, ids)], reason = NULL,
            exit_code = NULL, duration_ms = NULL, changed_at = at
        WHERE j.id = ANY (ids) AND j.id BETWEEN low AND high AND j.state = 'QUEUED'
        RETURNING j AS job
    ), n AS (
        -- OFFSET 0 keeps them look-ups a row, whatever the planner believes of the tables' sizes.
        SELECT u.job, s.spec, CASE WHEN (s.spec ->> 'exclusive')::boolean
            THEN exclusive_seconds + coalesce((s.spec ->> 'grace')::float8, 30) END AS lasts
        FROM u CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s WHERE s.job_id = (u.job).id
            AND s.job_id BETWEEN low AND high OFFSET 0) AS s
    ), l AS (
        INSERT INTO leases (job_id, attempt, token, session_id, assigned_at, lasts, expires_at)
        SELECT (n.job).id, (n.job).attempt, (n.job).token, (n.job).session_id, at, n.lasts,
            at + make_interval(secs => greatest(lease_seconds, n.lasts))
        FROM n
    )
    SELECT array_agg(n.job), json_agg(json_build_object('session_id', (n.job).session_id,
            'n', beats[width_bucket((n.job).id, ids)],
            'job_id', (n.job).id, 'attempt', (n.job).attempt, 'token', (n.job).token,
            'pipeline_id', (n.job).pipeline_id, 'tenant', (n.job).tenant, 'name', (n.job).name,
            'spec', n.spec, 'git', p.git, 'pipeline_name', p.name, 'lease', n.lasts))
    INTO claimed, granted
    FROM n CROSS JOIN LATERAL (SELECT p.git, p.name FROM pipelines AS p
        WHERE p.id = (n.job).pipeline_id OFFSET 0) AS p;

    IF claimed IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'claimed', json_build_array());
    END IF;
    events := json_build_array(json_build_object('grants', granted,
        'jobs', record_jobs_v1(claimed, NULL, actor)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'claimed', to_json(ARRAY(SELECT c.id FROM unnest(claimed) AS c)));
END
$$;
