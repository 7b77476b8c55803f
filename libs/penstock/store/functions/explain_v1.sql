-- Notes why jobs wait, where that is another reason, with other words or details, than the last time.
-- items: [{job_id, why}], sorted by job, each once; why is null or {reason, detail, text, at}: the moment of what is not
-- news does not count. Those that are not in the queue any more are left alone, and those that somebody takes out of it
-- or changes at this moment: nobody waits here, in whatever order others lock. Returns how many were news.
CREATE OR REPLACE FUNCTION explain_v1(items json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ids  uuid[];
    free uuid[];
    whys json[];
    news int;
BEGIN
    SELECT array_agg(i.job_id ORDER BY i.job_id), array_agg(i.why ORDER BY i.job_id) INTO ids, whys
    FROM json_to_recordset(items) AS i(job_id uuid, why json);
    free := ARRAY(SELECT r.job_id FROM ready AS r WHERE r.job_id = ANY (ids) FOR UPDATE OF r SKIP LOCKED);
    UPDATE ready AS r SET why = whys[width_bucket(r.job_id, ids)]
    WHERE r.job_id = ANY (free)
        AND r.why::jsonb - 'at' IS DISTINCT FROM whys[width_bucket(r.job_id, ids)]::jsonb - 'at';
    GET DIAGNOSTICS news = ROW_COUNT;
    RETURN to_json(news);
END
$$;
