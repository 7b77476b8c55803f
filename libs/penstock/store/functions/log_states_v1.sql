-- What a reader must know of the logs of these attempts. wanted: [{job_id, attempt}].
-- Returns [{job_id, attempt, lines, last_seq, end_seq, closed, state, reported_seq, ended_seconds}], sorted;
-- the first four are null while nothing is stored, the others while the attempt has not ended.
CREATE OR REPLACE FUNCTION log_states_v1(wanted json) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    at timestamptz := clock_v1();
BEGIN
    RETURN (SELECT coalesce(json_agg(json_build_object('job_id', k.job_id, 'attempt', k.attempt,
            'lines', h.lines, 'last_seq', h.last_seq, 'end_seq', h.end_seq, 'closed', h.closed,
            'state', a.state, 'reported_seq', a.last_seq,
            'ended_seconds', extract(epoch FROM at - a.ended_at)::float8) ORDER BY k.job_id, k.attempt), '[]')
        FROM json_to_recordset(wanted) AS k(job_id uuid, attempt int)
        LEFT JOIN LATERAL (SELECT * FROM log_heads AS h
            WHERE h.job_id = k.job_id AND h.attempt = k.attempt OFFSET 0) AS h ON true
        LEFT JOIN LATERAL (SELECT * FROM attempts AS a
            WHERE a.job_id = k.job_id AND a.attempt = k.attempt OFFSET 0) AS a ON true);
END
$$;
