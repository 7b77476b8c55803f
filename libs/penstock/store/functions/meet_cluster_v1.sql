-- Notes that Kafka has this cluster id. All but the first cluster get the transitions of the last keep seconds
-- again. Returns {"lost": true} while that is not done: what was in Kafka is gone, perhaps the topics, too.
CREATE OR REPLACE FUNCTION meet_cluster_v1(cluster text, keep double precision) RETURNS json
LANGUAGE sql SECURITY DEFINER AS $$
    WITH met AS (
        INSERT INTO kafka_clusters (cluster_id, met_at, since)
        SELECT cluster, clock_v1(),
            CASE WHEN EXISTS (SELECT FROM kafka_clusters) THEN clock_v1() - make_interval(secs => keep) END
        ON CONFLICT (cluster_id) DO NOTHING
        RETURNING since)
    SELECT json_build_object('lost', EXISTS (SELECT FROM met AS m WHERE m.since IS NOT NULL)
        OR EXISTS (SELECT FROM kafka_clusters AS k
            WHERE k.cluster_id = cluster AND k.since IS NOT NULL AND k.done_at IS NULL))
$$;
