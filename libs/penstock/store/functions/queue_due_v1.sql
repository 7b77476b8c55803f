-- QUEUED -> FAILED, queue-timeout, for up to max_jobs jobs whose queue timer is due, and what follows. A claim leaves
-- the timer alone: one that is due while its job is not QUEUED is only deleted. Several reapers at once are safe.
-- Returns {outbox_id, events}; events hold undecided children.
CREATE OR REPLACE FUNCTION queue_due_v1(max_jobs int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at     timestamptz := clock_v1();
    due    uuid[] := ARRAY(SELECT t.job_id FROM timers AS t WHERE t.kind = 'queue' AND t.due_at <= at
        ORDER BY t.due_at LIMIT max_jobs);
    ended  jobs[];
    events json;
BEGIN
    IF cardinality(due) = 0 THEN
        RETURN json_build_object('events', json_build_array());
    END IF;
    PERFORM lock_families_v1(due);
    WITH gone AS (
        DELETE FROM timers AS t WHERE t.job_id = ANY (due) AND t.kind = 'queue' AND t.due_at <= at
        RETURNING t.job_id
    ), u AS (
        UPDATE jobs AS j SET state = 'FAILED', previous = j.state, version = j.version + 1,
            reason = 'queue-timeout', exit_code = NULL, duration_ms = NULL, changed_at = at
        FROM gone WHERE j.id = gone.job_id AND j.state = 'QUEUED'
        RETURNING j AS job
    ), dequeued AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (ARRAY(SELECT (u.job).id FROM u)))
    SELECT array_agg(u.job) INTO ended FROM u;

    IF ended IS NULL THEN
        RETURN json_build_object('events', json_build_array());
    END IF;
    events := json_build_array(json_build_object('jobs', record_jobs_v1(ended, NULL, actor)),
        settle_v1(ended, NULL, at, actor));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events);
END
$$;
