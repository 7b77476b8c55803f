-- Open logs of these partitions whose attempt ended longer than ended_seconds ago, at most max_rows; looks at
-- open logs only, never at history.
-- Returns [{tenant, job_id, attempt, partition, lines, last_seq, end_seq}], the longest ended first; end_seq
-- is the end-of-log record's, else the report's of the attempt's end, unless that knew of fewer lines.
CREATE OR REPLACE FUNCTION open_logs_v1(of_partitions int[], ended_seconds double precision, max_rows int)
    RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    before timestamptz := clock_v1() - make_interval(secs => ended_seconds);
BEGIN
    RETURN (SELECT coalesce(json_agg(o ORDER BY o.ended_at, o.job_id, o.attempt), '[]') FROM (
        SELECT h.tenant, h.job_id, h.attempt, h.partition, h.lines, h.last_seq,
            coalesce(h.end_seq, CASE WHEN a.last_seq >= h.last_seq THEN a.last_seq END) AS end_seq, a.ended_at
        FROM log_heads AS h JOIN attempts AS a ON a.job_id = h.job_id AND a.attempt = h.attempt
        WHERE NOT h.closed AND h.partition = ANY (of_partitions) AND a.ended_at < before
        ORDER BY a.ended_at, h.job_id, h.attempt LIMIT max_rows) AS o);
END
$$;
