-- A cancel accepted over HTTP, before its 202: also of a request received but not applied yet.
-- Returns {outcome, pipeline_id}: absent (as if another tenant's), terminal or received.
CREATE OR REPLACE FUNCTION request_cancel_v1(of_id uuid, of_tenant text, of_pipeline uuid, of_job uuid,
    of_reason text, by_whom text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    target uuid := of_pipeline;
    state  text;
BEGIN
    IF of_job IS NOT NULL THEN
        SELECT j.pipeline_id, j.state INTO target, state FROM jobs AS j
        WHERE j.id = of_job AND j.tenant = of_tenant;
    ELSE
        SELECT p.state INTO state FROM pipelines AS p WHERE p.id = of_pipeline AND p.tenant = of_tenant;
        IF state IS NULL THEN
            SELECT r.state INTO state FROM requests AS r
            WHERE r.pipeline_id = of_pipeline AND r.tenant = of_tenant AND r.state = 'RECEIVED';
        END IF;
    END IF;
    IF state IS NULL THEN
        RETURN json_build_object('outcome', 'absent');
    END IF;
    IF state IN ('REJECTED', 'SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED') THEN
        RETURN json_build_object('outcome', 'terminal', 'pipeline_id', target, 'state', state);
    END IF;
    INSERT INTO cancels (cancel_id, tenant, pipeline_id, job_id, reason, requested_by, received_at)
    VALUES (of_id, of_tenant, target, of_job, of_reason, by_whom, clock_v1());
    RETURN json_build_object('outcome', 'received', 'pipeline_id', target);
END
$$;
