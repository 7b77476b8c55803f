-- What stands before those that admit_v1 has refused: one wish of each, the first that it could not have. Returns
-- what admit_v1 returns as waits, [] for none, in their order.
CREATE OR REPLACE FUNCTION waits_v1(missed holds[], at timestamptz) RETURNS json
LANGUAGE sql AS $$
    WITH k AS MATERIALIZED (
        SELECT DISTINCT m.tenant, m.kind, m.name FROM unnest(missed) AS m
    ), h AS MATERIALIZED (
        SELECT k.*, h.held, h.bears, o.holder, o.since
        FROM k CROSS JOIN LATERAL (SELECT count(*) AS held, min(h.most) AS bears FROM holds AS h
            WHERE h.tenant = k.tenant AND h.kind = k.kind AND h.name = k.name OFFSET 0) AS h
        LEFT JOIN LATERAL (
            SELECT h.holder, h.since FROM holds AS h
            WHERE h.tenant = k.tenant AND h.kind = k.kind AND h.name = k.name
            UNION ALL
            SELECT g.pipeline_id, g.since FROM concurrency_groups AS g
            WHERE k.kind = 'group' AND g.tenant = k.tenant AND g.name = k.name
            ORDER BY since, holder LIMIT 1) AS o ON true
        WHERE k.kind NOT LIKE 'limit/%'
    ), l AS MATERIALIZED (
        SELECT k.*, limit_opens_v1(l, at) AS opens
        FROM k CROSS JOIN LATERAL (SELECT * FROM limits AS l
            WHERE l.tenant = k.tenant AND l.kind = split_part(k.kind, '/', 2) AND l.name = k.name OFFSET 0) AS l
    )
    SELECT coalesce(json_agg(CASE WHEN m.kind LIKE 'limit/%'
            THEN json_build_object('job_id', m.job_id, 'kind', 'limit', 'name', split_part(m.kind, '/', 2) || '/' || m.name,
                'opens_at', extract(epoch FROM l.opens), 'opens_in', extract(epoch FROM l.opens - at))
            ELSE json_build_object('job_id', m.job_id, 'kind', m.kind, 'name', m.name,
                'most', least(m.most, h.bears), 'held', h.held, 'holder', h.holder, 'since', h.since)
        END ORDER BY m.ordinality), '[]')
    FROM unnest(missed) WITH ORDINALITY AS m
    LEFT JOIN h ON h.tenant = m.tenant AND h.kind = m.kind AND h.name = m.name
    LEFT JOIN l ON l.tenant = m.tenant AND l.kind = m.kind AND l.name = m.name
$$;
