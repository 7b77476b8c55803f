-- Reruns: a job that was not run again points at the one whose end it has. Names of workers outlive their rows.
ALTER TABLE job_specs ADD COLUMN source_job_id uuid;
COMMENT ON COLUMN job_specs.source_job_id IS 'Whose end, attempts and logs this job has, which a rerun took over; null: it has its own.';

CREATE TABLE past_workers (
    session_id uuid PRIMARY KEY,
    name       text NOT NULL,
    seen_at    timestamptz NOT NULL
);
CREATE INDEX past_workers_by_age ON past_workers (seen_at);
COMMENT ON TABLE past_workers IS 'Names of runners'' sessions that are gone, for the history of attempts.';
COMMENT ON COLUMN past_workers.session_id IS 'The session, as attempts name it.';
COMMENT ON COLUMN past_workers.name IS 'Name of the machine or replica.';
COMMENT ON COLUMN past_workers.seen_at IS 'Last seen.';
