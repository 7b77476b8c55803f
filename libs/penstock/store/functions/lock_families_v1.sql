-- Locks jobs and their children, by id: the order that all functions keep, so that none wait in a ring.
-- Bounds that are known when a statement starts spare it the partitions that hold none of the rows.
CREATE OR REPLACE FUNCTION lock_families_v1(ids uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    parents uuid[] := ARRAY(SELECT i FROM unnest(ids) AS i ORDER BY i);
    family  uuid[] := ARRAY(
        SELECT unnest(ids)
        UNION
        SELECT e.child_id FROM unnest(ids) AS i CROSS JOIN LATERAL (SELECT e.child_id FROM edges AS e
            WHERE e.parent_id = i AND e.parent_id BETWEEN parents[1] AND parents[cardinality(parents)]
            OFFSET 0) AS e
        ORDER BY 1);
BEGIN
    PERFORM FROM jobs AS j
    WHERE j.id = ANY (family) AND j.id BETWEEN family[1] AND family[cardinality(family)]
    ORDER BY j.id FOR UPDATE OF j;
END
$$;
