-- Makes the weekly partitions of all tables ranged by UUIDv7, from the current week to weeks_ahead later.
-- A UUIDv7 begins with 48 bits of Unix milliseconds, so a week is a range of ids (facts §6).
-- Returns the names of the partitions it made.
CREATE OR REPLACE FUNCTION ensure_partitions_v1(weeks_ahead int) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    week   timestamptz;
    parent text;
    child  text;
    bounds uuid[];
    made   text[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock(7305466109);
    FOR ahead IN 0..weeks_ahead LOOP
        week := date_trunc('week', clock_v1(), 'UTC') + make_interval(weeks => ahead);
        bounds := ARRAY(SELECT rpad(lpad(to_hex((extract(epoch FROM edge) * 1000)::bigint), 12, '0'), 32, '0')::uuid
            FROM unnest(ARRAY[week, week + interval '1 week']) AS edge);
        FOREACH parent IN ARRAY ARRAY['jobs', 'job_specs', 'edges', 'attempts', 'job_transitions'] LOOP
            child := format('%s_%s', parent, to_char(week AT TIME ZONE 'UTC', 'YYYYMMDD'));
            CONTINUE WHEN to_regclass(child) IS NOT NULL;
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)%s',
                child, parent, bounds[1], bounds[2],
                CASE WHEN parent = 'jobs' THEN ' WITH (fillfactor = 70)' ELSE '' END);
            made := made || child;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
