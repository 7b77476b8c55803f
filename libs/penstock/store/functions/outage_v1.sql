-- Says that a reaper, the database and the broker are well. Where none of the reapers could say so for more than
-- gap_seconds, what waits for a moment waits as much longer (protocol §4): leases, but none beyond longest_seconds
-- from now (exclusive ones: than they last), which only those of the time before the outage can need; and run, grace
-- and queue timers.
-- Returns the length of the outage in seconds, 0 when there was none.
CREATE OR REPLACE FUNCTION outage_v1(of_reaper text, gap_seconds double precision,
    longest_seconds double precision) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at   timestamptz;
    last timestamptz;
    gap  interval := interval '0';
BEGIN
    -- The compare-and-swap of all reapers: the first one after an outage holds the rows, and the others see then
    -- that it was well.
    PERFORM FROM reaper_clock AS c ORDER BY c.reaper FOR UPDATE OF c;
    at := clock_v1();
    SELECT max(c.last_ok) INTO last FROM reaper_clock AS c;
    INSERT INTO reaper_clock (reaper, last_ok) VALUES (of_reaper, at)
    ON CONFLICT (reaper) DO UPDATE SET last_ok = excluded.last_ok;
    -- Replicas that are gone; and a time that is yet to come (the clock was set back) would hide all outages until then.
    DELETE FROM reaper_clock AS c
    WHERE c.reaper <> of_reaper AND (c.last_ok > at OR c.last_ok < at - interval '1 hour');

    IF at - last > make_interval(secs => gap_seconds) THEN
        gap := at - last;
        PERFORM FROM leases AS l ORDER BY l.job_id FOR UPDATE OF l;
        UPDATE leases AS l SET expires_at = CASE WHEN l.ending IS NULL
            THEN greatest(l.expires_at, least(l.expires_at + gap,
                at + make_interval(secs => greatest(longest_seconds, l.lasts))))
            ELSE l.expires_at + gap END;
        UPDATE timers AS t SET due_at = t.due_at + gap WHERE t.kind <> 'retry';
    END IF;
    RETURN to_json(extract(epoch FROM gap)::float8);
END
$$;
