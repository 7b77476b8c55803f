-- Living attempts with what dispatch counts of them, sorted by job: [{session_id, job_id, attempt, tenant, pool,
-- executor, cpu, memory}].
CREATE OR REPLACE FUNCTION held_leases_v1() RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(json_agg(l ORDER BY l.job_id), '[]') FROM (
        SELECT l.session_id, l.job_id, l.attempt, j.tenant, j.pool, s.executor,
            coalesce((s.resources ->> 'cpu')::float8, 0) AS cpu, coalesce((s.resources ->> 'memory')::bigint, 0) AS memory
        FROM leases AS l
        CROSS JOIN LATERAL (SELECT j.tenant, j.pool FROM jobs AS j WHERE j.id = l.job_id OFFSET 0) AS j
        CROSS JOIN LATERAL (SELECT s.executor, s.resources FROM job_specs AS s
            WHERE s.job_id = l.job_id OFFSET 0) AS s) AS l
$$;
