-- Says where a service's replica can be reached and which log partitions it owns.
CREATE OR REPLACE FUNCTION register_v1(of_session uuid, of_kind text, of_name text, of_address text,
    owns int[], leaves boolean) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
    INSERT INTO workers AS w (session_id, kind, name, state, address, partitions, registered_at, seen_at)
    VALUES (of_session, of_kind, of_name, CASE WHEN leaves THEN 'OFFLINE' ELSE 'IDLE' END, of_address, owns,
        clock_v1(), clock_v1())
    ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, partitions = excluded.partitions,
        address = excluded.address, seen_at = excluded.seen_at
$$;
