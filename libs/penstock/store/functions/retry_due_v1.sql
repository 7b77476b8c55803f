-- RETRYING -> QUEUED for up to max_jobs jobs whose timer is due; several reapers at once are safe.
-- Returns {outbox_id, events}.
CREATE OR REPLACE FUNCTION retry_due_v1(max_jobs int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at     timestamptz := clock_v1();
    due    uuid[];
    queued jobs[];
    events json;
BEGIN
    WITH d AS (
        SELECT t.job_id FROM timers AS t WHERE t.kind = 'retry' AND t.due_at <= at
        ORDER BY t.due_at LIMIT max_jobs FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM timers AS t USING d WHERE t.job_id = d.job_id AND t.kind = 'retry' RETURNING t.job_id)
    SELECT array_agg(gone.job_id) INTO due FROM gone;
    IF due IS NULL THEN
        RETURN json_build_object('events', json_build_array());
    END IF;

    PERFORM FROM unnest(due) AS d JOIN jobs AS j ON j.id = d ORDER BY j.id FOR UPDATE OF j;
    WITH u AS (
        UPDATE jobs AS j SET state = 'QUEUED', previous = j.state, version = j.version + 1, reason = NULL,
            changed_at = at
        FROM unnest(due) AS d WHERE j.id = d AND j.state = 'RETRYING'
        RETURNING j AS job)
    SELECT array_agg(u.job) INTO queued FROM u;
    IF queued IS NULL THEN
        RETURN json_build_object('events', json_build_array());
    END IF;
    events := json_build_array(
        json_build_object('jobs', record_jobs_v1(queued, NULL, actor), 'ready', enqueue_v1(queued)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events);
END
$$;
