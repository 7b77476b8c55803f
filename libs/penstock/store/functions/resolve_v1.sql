-- Carries out what the pure decide said of PENDING jobs whose needs are all resolved.
-- decisions: [{job_id, becomes, reason}], becomes QUEUED or SKIPPED. A SKIPPED job settles its children.
-- Returns {outbox_id, events}; events hold the next undecided level.
CREATE OR REPLACE FUNCTION resolve_v1(decisions json, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    named   uuid[] := ARRAY(SELECT d.job_id FROM json_to_recordset(decisions) AS d(job_id uuid) ORDER BY 1);
    changed jobs[];
    queued  jobs[];
    skipped jobs[];
    events  json;
BEGIN
    PERFORM lock_families_v1(named);

    WITH u AS (
        UPDATE jobs AS j SET state = d.becomes, previous = j.state, version = j.version + 1,
            reason = d.reason, changed_at = at
        FROM json_to_recordset(decisions) AS d(job_id uuid, becomes text, reason text)
        WHERE j.id = d.job_id AND j.id = ANY (named) AND j.id BETWEEN named[1] AND named[cardinality(named)]
            AND j.state = 'PENDING' AND j.unmet = 0
        RETURNING j AS job)
    SELECT array_agg(u.job), array_agg(u.job) FILTER (WHERE (u.job).state = 'QUEUED'),
        array_agg(u.job) FILTER (WHERE (u.job).state = 'SKIPPED')
    INTO changed, queued, skipped FROM u;

    IF changed IS NULL THEN
        RETURN json_build_object('events', json_build_array());
    END IF;
    events := json_build_array(
        json_build_object('jobs', record_jobs_v1(changed, NULL, actor), 'ready', enqueue_v1(queued)),
        CASE WHEN skipped IS NOT NULL THEN settle_v1(skipped, NULL, at, actor) END);
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events);
END
$$;
