-- Detaches weekly partitions that ended more than keep_weeks ago and in which nothing is unfinished. They stay
-- as tables of their own, to be archived or dropped by the operator (90 days are 13 weeks). All tables of a
-- week go together. Gives up after two seconds without the locks: the next call tries again.
-- Returns the names of the tables detached.
CREATE OR REPLACE FUNCTION detach_partitions_v1(keep_weeks int) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    oldest text := to_char(date_trunc('week', clock_v1(), 'UTC') - make_interval(weeks => keep_weeks), 'YYYYMMDD');
    week   text;
    parent text;
    busy   boolean;
    gone   text[] := '{}';
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    FOR week IN
        SELECT right(i.inhrelid::regclass::text, 8) FROM pg_inherits AS i
        WHERE i.inhparent = 'jobs'::regclass AND right(i.inhrelid::regclass::text, 8) < oldest ORDER BY 1
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM open_pipelines AS o JOIN %I AS j ON j.pipeline_id = o.pipeline_id)',
            'jobs_' || week) INTO busy;
        CONTINUE WHEN busy;
        FOREACH parent IN ARRAY ARRAY['job_transitions', 'attempts', 'edges', 'job_specs', 'jobs'] LOOP
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_' || week);
            gone := gone || (parent || '_' || week);
        END LOOP;
    END LOOP;
    RETURN gone;
END
$$;
