-- QUEUED -> ASSIGNED for those that still are: token, attempt + 1, a lease of lease_seconds, the grant.
-- claims: [{job_id, token, session_id, n}]; n is the heartbeat number that the grant echoes.
-- They come sorted by job: rows are locked in that order by the one UPDATE that touches jobs here.
-- Ready rows of all of them go: a job that is no longer QUEUED has no place in the queue.
-- Returns {outbox_id, events, claimed: [job id]}.
CREATE OR REPLACE FUNCTION claim_v1(claims json, lease_seconds double precision, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    claimed jobs[];
    granted json;
    events  json;
BEGIN
    WITH c AS (
        SELECT * FROM json_to_recordset(claims) AS c(job_id uuid, token uuid, session_id uuid, n bigint)
    ), gone AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (ARRAY(SELECT c.job_id FROM c))
    ), u AS (
        UPDATE jobs AS j SET state = 'ASSIGNED', previous = j.state, version = j.version + 1,
            attempt = j.attempt + 1, token = c.token, session_id = c.session_id, reason = NULL,
            exit_code = NULL, duration_ms = NULL, changed_at = at
        FROM c WHERE j.id = c.job_id AND j.state = 'QUEUED'
        RETURNING j AS job, c.n
    ), l AS (
        INSERT INTO leases (job_id, attempt, token, session_id, assigned_at, expires_at)
        SELECT (u.job).id, (u.job).attempt, (u.job).token, (u.job).session_id, at,
            at + make_interval(secs => lease_seconds)
        FROM u
    )
    SELECT array_agg(u.job), json_agg(json_build_object('session_id', (u.job).session_id, 'n', u.n,
            'job_id', (u.job).id, 'attempt', (u.job).attempt, 'token', (u.job).token,
            'pipeline_id', (u.job).pipeline_id, 'tenant', (u.job).tenant, 'name', (u.job).name,
            'spec', s.spec, 'git', p.git, 'pipeline_name', p.name))
    INTO claimed, granted
    -- OFFSET 0 keeps them look-ups a row, whatever the planner believes of the tables' sizes.
    FROM u CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s WHERE s.job_id = (u.job).id OFFSET 0) AS s
    CROSS JOIN LATERAL (SELECT p.git, p.name FROM pipelines AS p
        WHERE p.id = (u.job).pipeline_id OFFSET 0) AS p;

    IF claimed IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'claimed', json_build_array());
    END IF;
    events := json_build_array(json_build_object('grants', granted,
        'jobs', record_jobs_v1(claimed, NULL, actor)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'claimed', (SELECT json_agg(c.id) FROM unnest(claimed) AS c));
END
$$;
