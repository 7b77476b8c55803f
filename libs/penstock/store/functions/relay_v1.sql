-- Outbox rows older than older_than seconds: [{id, events}], the oldest first, at most max_rows. Nothing is
-- locked: the caller publishes after this transaction, and deletes by acked_v1 after the acks. Two relays, or a
-- process that was only slow, may publish the same row; its records then repeat, as records may (protocol §7).
CREATE OR REPLACE FUNCTION relay_v1(older_than double precision, max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT coalesce(json_agg(o), '[]') FROM (
        SELECT id, events FROM outbox WHERE created_at < clock_v1() - make_interval(secs => older_than)
        ORDER BY created_at LIMIT max_rows) AS o
$$;
