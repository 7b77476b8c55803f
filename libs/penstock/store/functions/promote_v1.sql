-- Raises the lane of an unfinished job, and of its place in the queue; it keeps its age. That is no transition: no
-- version is spent. Returns {outbox_id, events, outcome}: absent (as if another tenant's), terminal, lower (its lane
-- is above that), same, or promoted; events hold its ready row.
CREATE OR REPLACE FUNCTION promote_v1(of_tenant text, of_job uuid, to_lane text, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    lanes   text[] := ARRAY['normal', 'high', 'critical'];
    old     jobs;
    outcome text;
    raised  json;
    events  json;
BEGIN
    SELECT * INTO old FROM jobs AS j WHERE j.id = of_job AND j.tenant = of_tenant FOR UPDATE OF j;
    outcome := CASE WHEN old.id IS NULL THEN 'absent'
        WHEN old.state IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED') THEN 'terminal'
        WHEN old.lane = to_lane THEN 'same'
        WHEN array_position(lanes, old.lane) > array_position(lanes, to_lane) THEN 'lower' ELSE 'promoted' END;
    IF outcome <> 'promoted' THEN
        RETURN json_build_object('events', json_build_array(), 'outcome', outcome);
    END IF;
    UPDATE jobs AS j SET lane = to_lane WHERE j.id = of_job;
    WITH u AS (
        UPDATE ready AS r SET lane = to_lane WHERE r.job_id = of_job
        RETURNING job_id, pipeline_id, tenant, pool, lane, executor, labels, queued_at, resources,
            coalesce(holds, '[]') AS holds, immediate)
    SELECT json_agg(u) INTO raised FROM u;
    IF raised IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'outcome', outcome);
    END IF;
    events := json_build_array(json_build_object('ready', raised));
    RETURN json_build_object('outbox_id', publish_v1(events, clock_v1(), actor), 'events', events,
        'outcome', outcome);
END
$$;
