-- Closes open logs of jobs that are not there (frames of a job that never was, or whose partition was detached),
-- at most max_rows: no end of an attempt will ever close them. Looks at open logs only. Returns how many.
CREATE OR REPLACE FUNCTION close_unknown_logs_v1(max_rows int) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH u AS (
        UPDATE log_heads AS h SET closed = true
        FROM (SELECT o.job_id, o.attempt FROM log_heads AS o
            WHERE NOT o.closed AND NOT EXISTS (SELECT FROM jobs AS j WHERE j.id = o.job_id)
            LIMIT max_rows FOR UPDATE SKIP LOCKED) AS gone
        WHERE h.job_id = gone.job_id AND h.attempt = gone.attempt
        RETURNING 1)
    SELECT to_json(count(*)) FROM u
$$;
