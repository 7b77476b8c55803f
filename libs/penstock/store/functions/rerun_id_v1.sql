-- The id that a job of a pipeline has in a rerun of it: a UUIDv7 of the new pipeline's millisecond, the same
-- whenever it is asked for. One expression, so that Postgres inlines it: it is asked for twice an edge.
CREATE OR REPLACE FUNCTION rerun_id_v1(of_pipeline uuid, of_job uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT (left(encode(uuid_send(of_pipeline), 'hex'), 12) || overlay(overlay(
        left(encode(sha256(uuid_send(of_pipeline) || uuid_send(of_job)), 'hex'), 20) PLACING '7' FROM 1) PLACING '8' FROM 5))::uuid
$$;
