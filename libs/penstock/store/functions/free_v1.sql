-- Frees all that these jobs hold; groups are held by pipelines. Returns [{tenant, kind, name, holder}]; null when there was nothing.
CREATE OR REPLACE FUNCTION free_v1(holders uuid[]) RETURNS json
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM holds AS h WHERE h.holder = ANY (holders) AND h.kind <> 'group'
        RETURNING h.tenant, h.kind, h.name, h.holder)
    SELECT json_agg(g ORDER BY g.tenant, g.kind, g.name, g.holder) FROM gone AS g
$$;
