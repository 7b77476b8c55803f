-- How far the logs of these attempts are stored. attempts: [{job_id, attempt}].
-- Returns [{job_id, attempt, lines, last_seq, end_seq, closed, gaps}] of those that have a head, sorted; gaps
-- are the lines before last_seq that are missing, [[first, last], …].
CREATE OR REPLACE FUNCTION log_heads_v1(attempts json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(json_agg(json_build_object('job_id', h.job_id, 'attempt', h.attempt,
            'lines', h.lines, 'last_seq', h.last_seq, 'end_seq', h.end_seq, 'closed', h.closed,
            'gaps', CASE WHEN h.lines = h.last_seq THEN '[]'::json ELSE (
                SELECT coalesce(json_agg(json_build_array(g.first, g.last) ORDER BY g.first), '[]') FROM (
                    SELECT lag(c.last_seq, 1, 0::bigint) OVER (ORDER BY c.first_seq) + 1 AS first,
                        c.first_seq - 1 AS last
                    FROM log_chunks AS c WHERE c.job_id = h.job_id AND c.attempt = h.attempt) AS g
                WHERE g.first <= g.last) END) ORDER BY h.job_id, h.attempt), '[]')
        FROM json_to_recordset(attempts) AS k(job_id uuid, attempt int)
        CROSS JOIN LATERAL (SELECT * FROM log_heads AS h
            WHERE h.job_id = k.job_id AND h.attempt = k.attempt OFFSET 0) AS h);
END
$$;
