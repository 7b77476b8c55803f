-- Writes the history of jobs that just changed and returns their status records.
-- changed: the rows after the change. started: those of them whose start was folded into this change, so
-- that RUNNING (the version before) is written too; there the start was charged, whatever ended it since.
-- actor: service and replica.
CREATE OR REPLACE FUNCTION record_jobs_v1(changed jobs[], started jobs[], actor text) RETURNS json
LANGUAGE sql AS $$
    WITH written AS (
        INSERT INTO job_transitions (tenant, pipeline_id, job_id, name, pool, lane, attempt, tries, version,
            state, previous, terminal, reason, exit_code, worker, at, duration_ms, actor)
        SELECT s.tenant, s.pipeline_id, s.id, s.name, s.pool, s.lane, s.attempt,
            s.tries + (coalesce(s.reason, '') IN ('infra-error', 'worker-lost'))::int, s.version - 1, 'RUNNING',
            'ASSIGNED', false, NULL, NULL, s.session_id, s.changed_at, NULL, actor
        FROM unnest(started) AS s
        UNION ALL
        SELECT c.tenant, c.pipeline_id, c.id, c.name, c.pool, c.lane, c.attempt, c.tries, c.version,
            c.state, c.previous, c.state IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'), c.reason,
            c.exit_code, c.session_id, c.changed_at, c.duration_ms, actor
        FROM unnest(changed) AS c
        RETURNING job_transitions.*)
    SELECT coalesce(json_agg(w), '[]') FROM written AS w
$$;
