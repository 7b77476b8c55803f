-- A request accepted over HTTP, before its 2xx (protocol §1): idempotent by (tenant, key).
-- body: the record of penstock.pipelines.requested, published again until intake has applied it.
-- Returns {outcome, pipeline_id, state}: outcome is new, repeat or conflict (another body under this key,
-- or an id that is in use).
CREATE OR REPLACE FUNCTION receive_v1(of_tenant text, of_key text, of_hash text, of_pipeline uuid, of_body text,
    publish_seconds double precision) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at  timestamptz := clock_v1();
    old requests;
BEGIN
    IF NOT EXISTS (SELECT FROM pipelines AS p WHERE p.id = of_pipeline) THEN
        INSERT INTO requests (tenant, key, hash, pipeline_id, state, body, received_at, publish_at)
        VALUES (of_tenant, of_key, decode(of_hash, 'hex'), of_pipeline, 'RECEIVED', of_body, at,
            at + make_interval(secs => publish_seconds))
        ON CONFLICT (tenant, key) DO NOTHING;
        IF FOUND THEN
            RETURN json_build_object('outcome', 'new', 'pipeline_id', of_pipeline, 'state', 'RECEIVED');
        END IF;
    END IF;
    SELECT * INTO old FROM requests AS r WHERE r.tenant = of_tenant AND r.key = of_key;
    RETURN json_build_object(
        'outcome', CASE WHEN old.hash = decode(of_hash, 'hex') THEN 'repeat' ELSE 'conflict' END,
        'pipeline_id', old.pipeline_id, 'state', old.state);
END
$$;
