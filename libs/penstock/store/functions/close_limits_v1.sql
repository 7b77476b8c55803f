-- Closes limits of named resources for so many seconds from now, and never for less than they are: nothing that takes
-- the lock of that name is claimed before. items: [{tenant, name, seconds}], at most a day. most: so many names a tenant
-- may have that only this closes; null: any number. Returns the tenants of which names were left open for that.
CREATE OR REPLACE FUNCTION close_limits_v1(items json, most int) RETURNS text[]
LANGUAGE sql AS $$
    WITH i AS MATERIALIZED (
        SELECT i.tenant, i.name, max(least(i.seconds, 86400)) AS seconds
        FROM json_to_recordset(items) AS i(tenant text, name text, seconds double precision) GROUP BY i.tenant, i.name
    ), n AS MATERIALIZED (
        SELECT i.*, l.name IS NOT NULL AS known,
            row_number() OVER (PARTITION BY i.tenant, l.name IS NOT NULL ORDER BY i.name) AS at
        FROM i LEFT JOIN LATERAL (SELECT l.name FROM limits AS l
            WHERE l.tenant = i.tenant AND l.kind = 'lock' AND l.name = i.name OFFSET 0) AS l ON true
    ), t AS MATERIALIZED (
        SELECT t.tenant, most - count(l.tenant) AS room
        FROM (SELECT DISTINCT n.tenant FROM n WHERE NOT n.known) AS t LEFT JOIN LATERAL (SELECT l.tenant FROM limits AS l
            WHERE l.tenant = t.tenant AND l.kind = 'lock' AND l.per_second IS NULL LIMIT most) AS l ON true
        GROUP BY t.tenant
    ), late AS MATERIALIZED (
        SELECT n.tenant, n.name FROM n JOIN t ON t.tenant = n.tenant WHERE NOT n.known AND n.at > t.room
    ), closed AS (
        INSERT INTO limits AS l (tenant, kind, name, filled_at, closed_until)
        SELECT n.tenant, 'lock', n.name, clock_v1(), clock_v1() + make_interval(secs => n.seconds) FROM n
        WHERE NOT EXISTS (SELECT FROM late WHERE late.tenant = n.tenant AND late.name = n.name)
        ORDER BY n.tenant, n.name
        ON CONFLICT (tenant, kind, name) DO UPDATE SET closed_until = greatest(l.closed_until, excluded.closed_until)
    )
    SELECT ARRAY(SELECT DISTINCT late.tenant FROM late ORDER BY 1)
$$;
