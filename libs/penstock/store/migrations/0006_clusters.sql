CREATE TABLE kafka_clusters (
    cluster_id  text PRIMARY KEY,
    met_at      timestamptz NOT NULL,
    since       timestamptz,
    pipeline_id uuid,
    job_id      uuid,
    busy_until  timestamptz,
    done_at     timestamptz
);
COMMENT ON TABLE kafka_clusters IS 'Every Kafka cluster ever met; all but the first get the recent history again.';
COMMENT ON COLUMN kafka_clusters.cluster_id IS 'The id that Kafka was formatted with.';
COMMENT ON COLUMN kafka_clusters.met_at IS 'Database clock.';
COMMENT ON COLUMN kafka_clusters.since IS 'Transitions from here on are published again; null: none.';
COMMENT ON COLUMN kafka_clusters.pipeline_id IS 'Published up to this pipeline; null before the first.';
COMMENT ON COLUMN kafka_clusters.job_id IS 'And of it up to this job.';
COMMENT ON COLUMN kafka_clusters.busy_until IS 'A reaper publishes the next page; after this another may.';
COMMENT ON COLUMN kafka_clusters.done_at IS 'When all was published.';
