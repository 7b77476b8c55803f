-- The page taken last is acknowledged: the next one begins behind this pipeline and job; null: it was the last.
CREATE OR REPLACE FUNCTION gave_history_v1(cluster text, next_pipeline uuid, next_job uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER AS $$
    UPDATE kafka_clusters AS k SET busy_until = NULL, pipeline_id = next_pipeline, job_id = next_job,
        done_at = CASE WHEN next_pipeline IS NULL THEN clock_v1() END
    WHERE k.cluster_id = cluster AND k.done_at IS NULL
$$;
