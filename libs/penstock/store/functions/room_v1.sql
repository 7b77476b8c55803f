-- How many more unfinished jobs a tenant may have; null: any number. Whoever asks for the same tenant waits until this
-- transaction ends, so that two do not take the same room.
CREATE OR REPLACE FUNCTION room_v1(of_tenant text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    most int := (SELECT q.queued FROM quotas AS q WHERE q.tenant IN (of_tenant, '*') AND q.pool = '*'
        ORDER BY q.tenant = '*' LIMIT 1);
BEGIN
    IF most IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(of_tenant || '/queued', 0));
    RETURN most - (SELECT coalesce(sum(o.remaining), 0) FROM open_pipelines AS o WHERE o.tenant = of_tenant);
END
$$;
