-- Locks jobs and their children, by id: the order that all functions keep, so that none wait in a ring.
CREATE OR REPLACE FUNCTION lock_families_v1(ids uuid[]) RETURNS void
LANGUAGE sql AS $$
    SELECT FROM jobs AS j JOIN (
        SELECT unnest(ids)
        UNION
        SELECT e.child_id FROM unnest(ids) AS i CROSS JOIN LATERAL (SELECT e.child_id FROM edges AS e
            WHERE e.parent_id = i OFFSET 0) AS e
    ) AS f(id) ON j.id = f.id
    ORDER BY j.id FOR UPDATE OF j
$$;
