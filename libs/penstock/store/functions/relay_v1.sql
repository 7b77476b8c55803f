-- Outbox rows older than older_than seconds that no other relay holds: [{id, events}], at most max_rows.
-- The caller publishes inside this transaction's lock and deletes them by acked_v1 after the acks.
CREATE OR REPLACE FUNCTION relay_v1(older_than double precision, max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH o AS (
        SELECT id, events FROM outbox WHERE created_at < clock_v1() - make_interval(secs => older_than)
        ORDER BY created_at LIMIT max_rows FOR UPDATE SKIP LOCKED)
    SELECT coalesce(json_agg(o), '[]') FROM o
$$;
