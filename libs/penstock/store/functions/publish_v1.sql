-- Keeps the events of this transaction until their records are acked. parts: a list of objects
-- {jobs, pipelines, ready, grants, stops, freed}, each a list. Returns the outbox row's id, null without events.
CREATE OR REPLACE FUNCTION publish_v1(parts json, at timestamptz, actor text) RETURNS uuid
LANGUAGE sql AS $$
    INSERT INTO outbox (id, created_at, actor, events) VALUES (gen_random_uuid(), at, actor, parts) RETURNING id
$$;
