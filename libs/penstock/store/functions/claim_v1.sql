-- QUEUED -> ASSIGNED for those that still are, and are in the queue: token, attempt + 1, a lease of lease_seconds, the
-- grant. Those that want to hold something, or whose tenant or pool has a quota or a limit, are asked of admit_v1.
-- Of a job that is exclusive (its spec says so) or holds a lock every lease lasts exclusive_seconds and its grace (left
-- out there: 30 s), from the claim on; the grant tells it.
-- ids: sorted, each once; tokens, sessions, beats (the heartbeat numbers that the grants echo), waited (seconds since
-- nothing but the queue stood before it): one for each id. Refused (SQLSTATE 22023) when they are not.
-- Rows are locked in the order of ids: by the one UPDATE that touches jobs here, or before admit_v1 locks names.
-- Ready rows of all of them go, but for those that must wait: a job that is no longer QUEUED has no place in the queue.
-- Returns {outbox_id, events, claimed: [job id], waits: [what stands before a job that must wait]} (admit_v1).
CREATE OR REPLACE FUNCTION claim_v1(ids uuid[], tokens uuid[], sessions uuid[], beats bigint[],
    waited double precision[], lease_seconds double precision, exclusive_seconds double precision, actor text)
    RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    low     uuid := ids[1];
    high    uuid := ids[cardinality(ids)];
    policed text[];
    chosen  uuid[];
    guarded uuid[];
    refused uuid[];
    holding uuid[] := '{}';
    locked  uuid[];
    waits   json := '[]';
    claimed jobs[];
    won     uuid[];
    granted json;
    events  json;
BEGIN
    IF ids <> ARRAY(SELECT DISTINCT i FROM unnest(ids) AS i ORDER BY i)
        OR cardinality(ids) <> ALL (ARRAY[cardinality(tokens), cardinality(sessions), cardinality(beats),
            cardinality(waited)]) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'claims must be sorted by job, each once';
    END IF;

    IF EXISTS (SELECT FROM quotas) OR EXISTS (SELECT FROM limits AS l WHERE l.kind <> 'lock') THEN
        policed := ARRAY(SELECT k.tenant || '/' || k.pool
            FROM (SELECT DISTINCT r.tenant, r.pool FROM ready AS r WHERE r.job_id = ANY (ids)) AS k
            WHERE EXISTS (SELECT FROM quotas AS q WHERE q.tenant IN (k.tenant, '*') AND q.pool IN (k.pool, '*')
                    AND q.running IS NOT NULL)
                OR EXISTS (SELECT FROM limits AS l WHERE l.tenant = k.tenant AND l.kind = 'tenant' AND l.name = k.tenant)
                OR EXISTS (SELECT FROM limits AS l WHERE l.tenant = '*' AND l.kind = 'pool' AND l.name = k.pool));
    END IF;
    SELECT array_agg(r.job_id), array_agg(r.job_id)
        FILTER (WHERE r.holds IS NOT NULL OR r.tenant || '/' || r.pool = ANY (policed))
    INTO chosen, guarded FROM ready AS r WHERE r.job_id = ANY (ids);
    IF guarded IS NOT NULL THEN
        PERFORM FROM jobs AS j WHERE j.id = ANY (chosen) AND j.id BETWEEN low AND high
        ORDER BY j.id FOR UPDATE OF j;
        SELECT a.refused, a.holding, a.locked, a.waits INTO refused, holding, locked, waits
        FROM admit_v1(guarded) AS a;
        chosen := ARRAY(SELECT c FROM unnest(chosen) AS c WHERE c <> ALL (refused));
        at := clock_v1();  -- what it got was freed before
    END IF;

    WITH gone AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (chosen)
    ), u AS (
        -- Bounds that are known when the statement starts spare it the partitions that hold none of them.
        UPDATE jobs AS j SET state = 'ASSIGNED', previous = j.state, version = j.version + 1,
            attempt = j.attempt + 1, token = tokens[width_bucket(j.id, ids)],
            session_id = sessions[width_bucket(j.id, ids)], reason = NULL,
            exit_code = NULL, duration_ms = NULL, changed_at = at
        WHERE j.id = ANY (chosen) AND j.id BETWEEN low AND high AND j.state = 'QUEUED'
        RETURNING j AS job
    ), n AS (
        -- OFFSET 0 keeps them look-ups a row, whatever the planner believes of the tables' sizes.
        SELECT u.job, s.spec, CASE WHEN (s.spec ->> 'exclusive')::boolean OR (u.job).id = ANY (locked)
            THEN exclusive_seconds + coalesce((s.spec ->> 'grace')::float8, 30) END AS lasts
        FROM u CROSS JOIN LATERAL (SELECT s.spec FROM job_specs AS s WHERE s.job_id = (u.job).id
            AND s.job_id BETWEEN low AND high OFFSET 0) AS s
    ), l AS (
        INSERT INTO leases (job_id, attempt, token, session_id, assigned_at, lasts, expires_at, held, unblocked_at)
        SELECT (n.job).id, (n.job).attempt, (n.job).token, (n.job).session_id, at, n.lasts,
            at + make_interval(secs => greatest(lease_seconds, n.lasts)), (n.job).id = ANY (holding),
            at - make_interval(secs => waited[width_bucket((n.job).id, ids)])
        FROM n
    )
    SELECT array_agg(n.job), array_agg((n.job).id), json_agg(json_build_object('session_id', (n.job).session_id,
            'n', beats[width_bucket((n.job).id, ids)],
            'job_id', (n.job).id, 'attempt', (n.job).attempt, 'token', (n.job).token,
            'pipeline_id', (n.job).pipeline_id, 'tenant', (n.job).tenant, 'name', (n.job).name,
            'spec', n.spec, 'git', p.git, 'pipeline_name', p.name, 'lease', n.lasts))
    INTO claimed, won, granted
    FROM n CROSS JOIN LATERAL (SELECT p.git, p.name FROM pipelines AS p
        WHERE p.id = (n.job).pipeline_id OFFSET 0) AS p;

    IF claimed IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'claimed', json_build_array(), 'waits', waits);
    END IF;
    events := json_build_array(json_build_object('grants', granted,
        'jobs', record_jobs_v1(claimed, NULL, actor)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'claimed', to_json(won), 'waits', waits);
END
$$;
