-- Ends QUEUED jobs that cannot be claimed, for Postgres refuses a value of theirs (protocol §10): FAILED,
-- infra-error, no attempt and no try spent; their ready rows go, and those of ids that are no longer QUEUED.
-- Returns {outbox_id, events}; events hold no grant, and undecided children.
CREATE OR REPLACE FUNCTION refuse_v1(ids uuid[], actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at     timestamptz := clock_v1();
    ended  jobs[];
    events json;
BEGIN
    PERFORM lock_families_v1(ids);

    WITH gone AS (
        DELETE FROM ready AS r WHERE r.job_id = ANY (ids)
    ), untimed AS (
        DELETE FROM timers AS t WHERE t.job_id = ANY (ids) AND t.kind = 'queue'
    ), u AS (
        UPDATE jobs AS j SET state = 'FAILED', previous = j.state, version = j.version + 1,
            reason = 'infra-error', exit_code = NULL, duration_ms = NULL, changed_at = at
        FROM unnest(ids) AS i WHERE j.id = i AND j.state = 'QUEUED'
        RETURNING j AS job)
    SELECT array_agg(u.job) INTO ended FROM u;

    IF ended IS NULL THEN
        RETURN json_build_object('events', json_build_array());
    END IF;
    events := json_build_array(json_build_object('jobs', record_jobs_v1(ended, NULL, actor)),
        settle_v1(ended, NULL, at, actor));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events);
END
$$;
