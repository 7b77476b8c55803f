-- Indexes one stored log chunk; a CAS on the attempt's head, so an owner that wakes up late writes nothing.
-- chunk: {tenant, job_id, attempt, first_seq, last_seq, object_key, bytes, raw_bytes, first_ts, last_ts,
-- frames, cluster_id, partition, next_offset}; closes: the end-of-log record was reached; missing: lines that
-- never came (an incomplete log that is closed all the same). A chunk without lines (last_seq < first_seq)
-- only closes. Returns {head, closed, indexed}.
CREATE OR REPLACE FUNCTION index_chunk_v1(chunk json, closes boolean, lines_missing bigint) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    c   record;
    old log_heads;
    ok  boolean;
BEGIN
    SELECT * INTO c FROM json_to_record(chunk) AS c(tenant text, job_id uuid, attempt int, first_seq bigint,
        last_seq bigint, object_key text, bytes int, raw_bytes int, first_ts bigint, last_ts bigint,
        frames json, cluster_id text, partition int, next_offset bigint);
    INSERT INTO log_heads (job_id, attempt, tenant, last_seq) VALUES (c.job_id, c.attempt, c.tenant, 0)
    ON CONFLICT (job_id, attempt) DO NOTHING;
    SELECT * INTO old FROM log_heads AS h WHERE h.job_id = c.job_id AND h.attempt = c.attempt FOR UPDATE;

    ok := c.first_seq > old.last_seq AND (c.first_seq = old.last_seq + 1 OR lines_missing > 0 OR old.missing > 0);
    IF NOT ok THEN
        RETURN json_build_object('head', old.last_seq, 'closed', old.closed, 'indexed', false);
    END IF;
    IF c.last_seq >= c.first_seq THEN
        INSERT INTO log_chunks (job_id, attempt, first_seq, last_seq, object_key, bytes, raw_bytes, first_ts,
            last_ts, frames, cluster_id, partition, next_offset, stored_at)
        VALUES (c.job_id, c.attempt, c.first_seq, c.last_seq, c.object_key, c.bytes, c.raw_bytes, c.first_ts,
            c.last_ts, c.frames, c.cluster_id, c.partition, c.next_offset, clock_v1());
    END IF;
    UPDATE log_heads AS h SET last_seq = greatest(h.last_seq, c.last_seq), closed = h.closed OR closes,
        missing = CASE WHEN closes OR h.closed THEN lines_missing ELSE h.missing END
    WHERE h.job_id = c.job_id AND h.attempt = c.attempt
    RETURNING * INTO old;
    RETURN json_build_object('head', old.last_seq, 'closed', old.closed, 'indexed', true);
END
$$;
