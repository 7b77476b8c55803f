-- The status record of a pipeline row (interface §4).
CREATE OR REPLACE FUNCTION pipeline_record_v1(p pipelines) RETURNS json
LANGUAGE sql AS $$
    SELECT json_build_object('tenant', p.tenant, 'pipeline_id', p.id, 'request_id', p.request_id,
        'name', p.name, 'version', p.version, 'state', p.state, 'previous', p.previous,
        'terminal', p.state IN ('REJECTED', 'SUCCESS', 'FAILED', 'CANCELLED'), 'reason', p.reason,
        'at', p.changed_at, 'counts', p.counts, 'git', p.git, 'errors', p.errors, 'rerun_of', p.rerun_of)
$$;
