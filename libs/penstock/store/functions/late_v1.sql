-- Notes what runners tell of attempts that were taken back from them: it is refused, and stays visible in their
-- history (protocol §4). reports: [{job_id, attempt, what}]. The first word counts, and an end over all others.
-- Returns [job id] of those that told only again what had been accepted.
CREATE OR REPLACE FUNCTION late_v1(reports json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    named uuid[] := ARRAY(SELECT r.job_id FROM json_to_recordset(reports) AS r(job_id uuid));
BEGIN
    UPDATE attempts AS a SET late = r.what, late_at = clock_v1()
    FROM json_to_recordset(reports) AS r(job_id uuid, attempt int, what text)
    WHERE a.job_id = r.job_id AND a.attempt = r.attempt AND a.job_id = ANY (named) AND NOT a.reported
        AND (a.late IS NULL OR (r.what LIKE 'ended%' AND a.late NOT LIKE 'ended%'));
    RETURN to_json(ARRAY(SELECT r.job_id
        FROM json_to_recordset(reports) AS r(job_id uuid, attempt int)
        CROSS JOIN LATERAL (SELECT FROM attempts AS a
            WHERE a.job_id = r.job_id AND a.attempt = r.attempt AND a.reported OFFSET 0) AS a ORDER BY 1));
END
$$;
