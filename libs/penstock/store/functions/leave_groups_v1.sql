-- Takes pipelines that are terminal out of their concurrency groups, which are freed whether or not they held them:
-- the next one may have waited behind them. Returns [{tenant, kind, name, holder}], each once; null for none.
CREATE OR REPLACE FUNCTION leave_groups_v1(closed uuid[]) RETURNS json
LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM concurrency_groups AS g WHERE g.pipeline_id = ANY (closed)
        RETURNING g.tenant, 'group' AS kind, g.name, g.pipeline_id AS holder
    ), freed AS (
        DELETE FROM holds AS h WHERE h.holder = ANY (closed) AND h.kind = 'group'
        RETURNING h.tenant, h.kind, h.name, h.holder)
    SELECT json_agg(f ORDER BY f.tenant, f.kind, f.name, f.holder)
    FROM (SELECT * FROM gone UNION SELECT * FROM freed) AS f
$$;
