-- Which of these pipelines (as accept_v1 takes them) are too much for their tenant's quota of unfinished jobs: they are
-- judged in their order, and what is too much takes no room from those behind it. One that is known already is not new.
CREATE OR REPLACE FUNCTION over_quota_v1(pipelines json, new_jobs json) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    tenants text[] := ARRAY(SELECT DISTINCT p.tenant FROM json_to_recordset(pipelines) AS p(tenant text) ORDER BY 1);
    rooms   bigint[] := ARRAY(SELECT room_v1(t) FROM unnest(tenants) AS t);
BEGIN
    -- A statement of its own: it sees what was accepted by those for whom the rooms waited.
    RETURN (WITH RECURSIVE n AS MATERIALIZED (
        SELECT n.pipeline_id, count(*) AS jobs FROM json_to_recordset(new_jobs) AS n(pipeline_id uuid)
        GROUP BY n.pipeline_id
    ), p AS MATERIALIZED (
        SELECT p.id, p.tenant, n.jobs, row_number() OVER (PARTITION BY p.tenant ORDER BY p.at) AS at
        FROM ROWS FROM (json_to_recordset(pipelines) AS (id uuid, tenant text, key text))
            WITH ORDINALITY AS p(id, tenant, key, at) JOIN n ON n.pipeline_id = p.id
        WHERE NOT EXISTS (SELECT FROM pipelines AS old WHERE old.id = p.id) AND NOT EXISTS (SELECT FROM requests AS r
            WHERE r.tenant = p.tenant AND r.key = p.key AND r.state <> 'RECEIVED')
    ), judged AS (
        SELECT r.tenant, 0::bigint AS at, NULL::uuid AS id, r.room, false AS over
        FROM unnest(tenants, rooms) AS r(tenant, room) WHERE r.room IS NOT NULL
        UNION ALL
        SELECT p.tenant, p.at, p.id, j.room - CASE WHEN p.jobs > j.room THEN 0 ELSE p.jobs END, p.jobs > j.room
        FROM judged AS j JOIN p ON p.tenant = j.tenant AND p.at = j.at + 1)
    SELECT coalesce(array_agg(j.id), '{}') FROM judged AS j WHERE j.over);
END
$$;
