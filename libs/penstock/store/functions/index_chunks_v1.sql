-- Indexes stored log chunks and closes logs; a CAS on each head's number of lines, so an owner that wakes up
-- late, or does not know what is stored, writes nothing.
-- items: [{tenant, job_id, attempt, partition, lines_before, lines, last_seq, end_seq, closes, chunks}], at
-- most one an attempt; lines_before is what the writer believes to be stored, lines and last_seq what is then;
-- end_seq: number of the last line there is, null if unknown; closes: the rest is given up on.
-- chunks: [{first_seq, last_seq, object_key, bytes, raw_bytes, first_ts, last_ts, frames, cluster_id,
-- next_offset}].
-- Returns [[job_id, attempt]] of those that won, sorted.
CREATE OR REPLACE FUNCTION index_chunks_v1(items json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at      timestamptz := clock_v1();
    named   uuid[] := ARRAY(SELECT i.job_id FROM json_to_recordset(items) AS i(job_id uuid));
    indexed json;
BEGIN
    PERFORM FROM log_heads AS h WHERE h.job_id = ANY (named)
    ORDER BY h.job_id, h.attempt FOR UPDATE OF h;

    WITH i AS (
        SELECT * FROM json_to_recordset(items) AS i(tenant text, job_id uuid, attempt int, partition int,
            lines_before bigint, lines bigint, last_seq bigint, end_seq bigint, closes boolean, chunks json)
    ), moved AS (
        UPDATE log_heads AS h SET lines = i.lines, last_seq = i.last_seq, partition = i.partition,
            end_seq = coalesce(h.end_seq, i.end_seq),
            closed = h.closed OR i.closes OR coalesce(i.lines = coalesce(h.end_seq, i.end_seq), false)
        FROM i WHERE h.job_id = i.job_id AND h.attempt = i.attempt AND h.job_id = ANY (named)
            AND h.lines = i.lines_before
        RETURNING h.job_id, h.attempt
    ), made AS (
        INSERT INTO log_heads (job_id, attempt, tenant, partition, lines, last_seq, end_seq, closed)
        SELECT i.job_id, i.attempt, i.tenant, i.partition, i.lines, i.last_seq, i.end_seq,
            i.closes OR coalesce(i.lines = i.end_seq, false)
        FROM i WHERE i.lines_before = 0
            AND NOT EXISTS (SELECT FROM moved AS m WHERE m.job_id = i.job_id AND m.attempt = i.attempt)
        ORDER BY i.job_id, i.attempt
        ON CONFLICT (job_id, attempt) DO NOTHING
        RETURNING job_id, attempt
    ), won AS (
        SELECT * FROM moved UNION ALL SELECT * FROM made
    ), kept AS (
        INSERT INTO log_chunks (job_id, attempt, first_seq, last_seq, object_key, bytes, raw_bytes, first_ts,
            last_ts, frames, cluster_id, partition, next_offset, stored_at)
        SELECT w.job_id, w.attempt, c.first_seq, c.last_seq, c.object_key, c.bytes, c.raw_bytes, c.first_ts,
            c.last_ts, c.frames, c.cluster_id, i.partition, c.next_offset, at
        FROM won AS w JOIN i ON i.job_id = w.job_id AND i.attempt = w.attempt
        CROSS JOIN LATERAL json_to_recordset(i.chunks) AS c(first_seq bigint, last_seq bigint,
            object_key text, bytes int, raw_bytes int, first_ts bigint, last_ts bigint, frames json,
            cluster_id text, next_offset bigint)
    )
    SELECT coalesce(json_agg(json_build_array(w.job_id, w.attempt) ORDER BY w.job_id, w.attempt), '[]')
    INTO indexed FROM won AS w;
    RETURN indexed;
END
$$;
