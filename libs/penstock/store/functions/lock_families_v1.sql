-- Locks jobs and their children, by id: the order that all functions keep, so that none wait in a ring.
CREATE OR REPLACE FUNCTION lock_families_v1(ids uuid[]) RETURNS void
LANGUAGE sql AS $$
    SELECT FROM jobs AS j JOIN (
        SELECT unnest(ids)
        UNION
        SELECT e.child_id FROM unnest(ids) AS i JOIN edges AS e ON e.parent_id = i
    ) AS f(id) ON j.id = f.id
    ORDER BY j.id FOR UPDATE OF j
$$;
