-- Keeps refused requests as REJECTED pipelines (protocol §1), idempotent by (tenant, key, hash).
-- rejections: [{id, tenant, key, hash (hex), name, reason, errors, trigger, git, conflict}]; with conflict
-- the key (or the id) means another pipeline, and id is one made for this refusal.
-- Returns {outbox_id, events, rejected: [pipeline id]}. A refusal whose id is not in rejected was not written:
-- its id is another pipeline's (or another refusal's in the same call), and it may come again under a new one;
-- or its request was settled by somebody else. An id that was promised and is in use is no promise any more.
CREATE OR REPLACE FUNCTION reject_v1(rejections json, actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    won     uuid[];
    refused pipelines[];
    events  json;
BEGIN
    WITH n AS (
        SELECT DISTINCT ON (n.id) n.* FROM json_to_recordset(rejections)
            AS n(id uuid, tenant text, key text, hash text, conflict boolean)
        WHERE (SELECT old.id FROM pipelines AS old WHERE old.id = n.id) IS NULL
        ORDER BY n.id, n.tenant, n.key
    ), r AS (
        INSERT INTO requests AS r (tenant, key, hash, pipeline_id, state, received_at)
        SELECT n.tenant, n.key, decode(n.hash, 'hex'), n.id, 'REJECTED', at FROM n
        WHERE NOT n.conflict ORDER BY n.tenant, n.key
        ON CONFLICT (tenant, key) DO UPDATE SET state = 'REJECTED', body = NULL, publish_at = NULL,
            pipeline_id = excluded.pipeline_id
            WHERE r.state = 'RECEIVED' AND r.hash = excluded.hash AND (r.pipeline_id = excluded.pipeline_id
                OR EXISTS (SELECT FROM pipelines AS old WHERE old.id = r.pipeline_id))
        RETURNING r.pipeline_id
    ), c AS (
        INSERT INTO request_conflicts AS c (tenant, key, hash, pipeline_id)
        SELECT n.tenant, n.key, decode(n.hash, 'hex'), n.id FROM n WHERE n.conflict
        ON CONFLICT (tenant, key, hash) DO NOTHING
        RETURNING c.pipeline_id
    ), q AS (
        -- What the gateway had received before the conflict showed is not to be published for ever.
        UPDATE requests AS q SET state = 'REJECTED', body = NULL, publish_at = NULL, pipeline_id = n.id
        FROM n WHERE n.conflict AND q.tenant = n.tenant AND q.key = n.key AND q.state = 'RECEIVED'
            AND q.hash = decode(n.hash, 'hex'))
    SELECT array_agg(w.pipeline_id) INTO won
    FROM (SELECT r.pipeline_id FROM r UNION SELECT c.pipeline_id FROM c) AS w;

    IF won IS NULL THEN
        RETURN json_build_object('events', json_build_array(), 'rejected', json_build_array());
    END IF;

    WITH n AS (
        INSERT INTO pipelines AS n (id, tenant, request_id, name, state, version, reason, trigger, repo, sha,
            branch, git, counts, errors, created_at, changed_at, finished_at)
        SELECT p.id, p.tenant, p.key, p.name, 'REJECTED', 1, p.reason, p.trigger, p.git ->> 'repo',
            p.git ->> 'sha', p.git ->> 'branch', p.git, '{}', p.errors, at, at, at
        FROM json_to_recordset(rejections) AS p(id uuid, tenant text, key text, name text, reason text,
            trigger text, git json, errors json)
        WHERE p.id = ANY(won) ORDER BY p.id, p.tenant, p.key
        ON CONFLICT (id) DO NOTHING
        RETURNING n AS pipeline)
    SELECT array_agg(n.pipeline) INTO refused FROM n;
    IF cardinality(refused) IS DISTINCT FROM cardinality(won) THEN
        -- Somebody took an id since we looked: everything once more, from the start.
        RAISE serialization_failure USING MESSAGE = 'an id was taken meanwhile';
    END IF;

    events := json_build_array(json_build_object('pipelines', record_pipelines_v1(refused, actor)));
    RETURN json_build_object('outbox_id', publish_v1(events, at, actor), 'events', events,
        'rejected', to_json(won));
END
$$;
