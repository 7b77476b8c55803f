-- Sessions with leases that are over by the database clock, sorted: [session id]. Not bounded: a reaper must
-- see its own sessions behind those of others, and which are its own only Kafka's partitioner can tell.
CREATE OR REPLACE FUNCTION expired_sessions_v1() RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    SELECT to_json(ARRAY(SELECT DISTINCT l.session_id FROM leases AS l WHERE l.expires_at < clock_v1() ORDER BY 1))
$$;
