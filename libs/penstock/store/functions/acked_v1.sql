-- Deletes outbox rows whose records are all acked. ids: [outbox id].
CREATE OR REPLACE FUNCTION acked_v1(ids uuid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM outbox AS o USING unnest(ids) AS i WHERE o.id = i
$$;
