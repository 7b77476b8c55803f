-- Closes pipelines that are open although all their jobs are terminal, at most max_rows: settle_v1 leaves none, so
-- each of them is a fault of ours (protocol §5). Returns {outbox_id, events, closed: [pipeline id]}.
CREATE OR REPLACE FUNCTION reconcile_v1(max_rows int, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at       timestamptz := clock_v1();
    found    uuid[];
    finished pipelines[];
    events   json;
BEGIN
    found := ARRAY(SELECT o.pipeline_id FROM open_pipelines AS o
        WHERE NOT EXISTS (SELECT FROM jobs AS j WHERE j.pipeline_id = o.pipeline_id
            AND j.state NOT IN ('SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED'))
        AND EXISTS (SELECT FROM jobs AS j WHERE j.pipeline_id = o.pipeline_id)
        ORDER BY o.pipeline_id LIMIT max_rows);
    -- Whoever closes one holds this lock: what is open still once it is ours was forgotten. Terminal jobs stay so.
    PERFORM FROM open_pipelines AS o WHERE o.pipeline_id = ANY (found) ORDER BY o.pipeline_id FOR UPDATE OF o;
    found := ARRAY(SELECT o.pipeline_id FROM open_pipelines AS o WHERE o.pipeline_id = ANY (found) ORDER BY 1);
    IF cardinality(found) = 0 THEN
        RETURN json_build_object('events', json_build_array(), 'closed', json_build_array());
    END IF;
    finished := close_v1(found, at);
    events := json_build_array(json_build_object('pipelines', record_pipelines_v1(finished, actor),
        'freed', leave_groups_v1(found)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'closed', to_json(found));
END
$$;
