-- Writes the history of pipelines that just changed and returns their status records.
CREATE OR REPLACE FUNCTION record_pipelines_v1(changed pipelines[], actor text) RETURNS json
LANGUAGE sql AS $$
    WITH written AS (
        INSERT INTO pipeline_transitions (pipeline_id, version, state, previous, reason, at, counts, actor)
        SELECT c.id, c.version, c.state, c.previous, c.reason, c.changed_at, c.counts, actor
        FROM unnest(changed) AS c)
    SELECT coalesce(json_agg(pipeline_record_v1(c)), '[]') FROM unnest(changed) AS c
$$;
