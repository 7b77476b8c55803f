-- What the numbers of tries mean: protocol §3.
COMMENT ON COLUMN jobs.tries IS 'Starts charged to the retry policy; those lost to us are in infra_tries.';
COMMENT ON COLUMN jobs.infra_tries IS 'Attempts that ended as worker-lost or infra-error.';
COMMENT ON COLUMN job_transitions.tries IS 'Starts charged to the retry policy so far.';
