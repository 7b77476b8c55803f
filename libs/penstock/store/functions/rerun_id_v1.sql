-- The id that a job of a pipeline has in a rerun of it: a UUIDv7 of the new pipeline's millisecond, the same
-- whenever it is asked for.
CREATE OR REPLACE FUNCTION rerun_id_v1(of_pipeline uuid, of_job uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$
    SELECT (left(of_pipeline::text, 13) || '-7' || left(h, 3) || '-8' || substr(h, 4, 3) || '-' || substr(h, 7, 12))::uuid
    FROM encode(sha256(uuid_send(of_pipeline) || uuid_send(of_job)), 'hex') AS h
$$;
