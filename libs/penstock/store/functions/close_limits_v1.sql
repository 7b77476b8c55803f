-- Closes limits of named resources for so many seconds from now, and never for less than they are: nothing that takes
-- the lock of that name is claimed before. items: [{tenant, name, seconds}], at most a day.
CREATE OR REPLACE FUNCTION close_limits_v1(items json) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO limits AS l (tenant, kind, name, filled_at, closed_until)
    SELECT i.tenant, 'lock', i.name, clock_v1(), clock_v1() + make_interval(secs => max(least(i.seconds, 86400)))
    FROM json_to_recordset(items) AS i(tenant text, name text, seconds double precision)
    GROUP BY i.tenant, i.name ORDER BY i.tenant, i.name
    ON CONFLICT (tenant, kind, name) DO UPDATE SET closed_until = greatest(l.closed_until, excluded.closed_until)
$$;
