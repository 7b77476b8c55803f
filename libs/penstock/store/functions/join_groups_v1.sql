-- Lets pipelines that are being accepted join their concurrency groups, each behind those that are in it already, in
-- the order in which they are given, whatever the clock says; rules: [{cancel_in_progress, queue}], one for each. Where its rules say so, a
-- cancel is written of those before it: of all (cancel_in_progress), or of those that have not entered the group yet
-- (queue: latest). Whoever joins or enters the same group meanwhile waits.
-- Returns [{tenant, pipeline_id}] of those of which a cancel was written: it may be applied now, or by a sweep.
CREATE OR REPLACE FUNCTION join_groups_v1(joining concurrency_groups[], rules json[]) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    at         timestamptz;
    superseded json;
BEGIN
    PERFORM pg_advisory_xact_lock(k.hash) FROM (
        SELECT DISTINCT hashtextextended(j.tenant || '/group/' || j.name, 0) AS hash
        FROM unnest(joining) AS j ORDER BY 1) AS k;
    at := greatest(clock_v1(), (SELECT max(o.since) + interval '1 microsecond' FROM unnest(joining) AS j
        CROSS JOIN LATERAL (SELECT o.since FROM concurrency_groups AS o WHERE o.tenant = j.tenant AND o.name = j.name
            ORDER BY o.since DESC LIMIT 1) AS o));
    INSERT INTO concurrency_groups (tenant, name, pipeline_id, since)
    SELECT j.tenant, j.name, j.pipeline_id, at + make_interval(secs => j.ordinality / 1e6)
    FROM unnest(joining) WITH ORDINALITY AS j;

    WITH older AS (
        SELECT DISTINCT o.tenant, o.pipeline_id
        FROM unnest(joining) WITH ORDINALITY AS j CROSS JOIN LATERAL (SELECT * FROM concurrency_groups AS o
            WHERE o.tenant = j.tenant AND o.name = j.name
                AND o.since < at + make_interval(secs => j.ordinality / 1e6) OFFSET 0) AS o
        WHERE (rules[j.ordinality] ->> 'cancel_in_progress')::boolean
            OR (rules[j.ordinality] ->> 'queue' = 'latest' AND NOT EXISTS (SELECT FROM holds AS h
                WHERE h.tenant = o.tenant AND h.kind = 'group' AND h.name = o.name AND h.holder = o.pipeline_id))
    ), asked AS (
        INSERT INTO cancels (cancel_id, tenant, pipeline_id, cause, received_at)
        SELECT gen_random_uuid(), o.tenant, o.pipeline_id, 'superseded', at FROM older AS o
        WHERE NOT EXISTS (SELECT FROM cancels AS c
                WHERE c.pipeline_id = o.pipeline_id AND c.cause = 'superseded' AND c.applied_at IS NULL)
            AND NOT EXISTS (SELECT FROM pipelines AS p
                WHERE p.id = o.pipeline_id AND p.state NOT IN ('PENDING', 'RUNNING'))
        RETURNING tenant, pipeline_id)
    SELECT coalesce(json_agg(a ORDER BY a.pipeline_id), '[]') INTO superseded FROM asked AS a;
    RETURN superseded;
END
$$;
