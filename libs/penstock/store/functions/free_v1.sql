-- Frees all that these jobs hold. Returns [{tenant, kind, name, by}], each name once; null when there was nothing.
CREATE OR REPLACE FUNCTION free_v1(holders uuid[]) RETURNS json
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM holds AS h WHERE h.holder = ANY (holders) RETURNING h.tenant, h.kind, h.name, h.holder)
    SELECT json_agg(f) FROM (
        SELECT g.tenant, g.kind, g.name, min(g.holder::text) AS by FROM gone AS g
        GROUP BY g.tenant, g.kind, g.name ORDER BY g.tenant, g.kind, g.name) AS f
$$;
