-- The next page of what this cluster has to be given again, for the caller alone during busy seconds; wait
-- seconds after it was met at the earliest. Returns what history_page_v1 does, or null when nothing is to do now.
CREATE OR REPLACE FUNCTION take_history_v1(cluster text, wait double precision, busy double precision, max_jobs int)
RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH taken AS (
        UPDATE kafka_clusters AS k SET busy_until = clock_v1() + make_interval(secs => busy)
        WHERE k.cluster_id = cluster AND k.since IS NOT NULL AND k.done_at IS NULL
            AND k.met_at <= clock_v1() - make_interval(secs => wait)
            AND coalesce(k.busy_until <= clock_v1(), true)
        RETURNING k.since, k.pipeline_id, k.job_id)
    SELECT history_page_v1(t.since, t.pipeline_id, t.job_id, max_jobs) FROM taken AS t
$$;
