-- What dispatch goes by: what jobs ask for, what they hold while they run, and what tenants, pools and runners may do.
ALTER TABLE job_specs ADD COLUMN resources json;
ALTER TABLE job_specs ADD COLUMN holds json;
ALTER TABLE job_specs ADD COLUMN immediate boolean NOT NULL DEFAULT false;
ALTER TABLE job_specs ADD COLUMN matrix text;
ALTER TABLE job_specs ADD COLUMN fail_fast boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN job_specs.resources IS '{cpu, memory (bytes), arch} that it needs, where given; null: none was.';
COMMENT ON COLUMN job_specs.holds IS '[[kind, name, most], …] that a claim of it takes, all or none; null: none.';
COMMENT ON COLUMN job_specs.immediate IS 'Short: it goes before the queue when all its locks are free.';
COMMENT ON COLUMN job_specs.matrix IS 'Key of the matrix of which it is a cell; null: of none.';
COMMENT ON COLUMN job_specs.fail_fast IS 'When it fails, the other cells of its matrix are cancelled.';

ALTER TABLE ready ADD COLUMN resources json;
ALTER TABLE ready ADD COLUMN holds json;
ALTER TABLE ready ADD COLUMN immediate boolean NOT NULL DEFAULT false;
ALTER TABLE ready ADD COLUMN why json;
COMMENT ON COLUMN ready.resources IS 'As in job_specs.';
COMMENT ON COLUMN ready.holds IS 'As in job_specs, but names of matrices begin with the pipeline; null: none.';
COMMENT ON COLUMN ready.immediate IS 'As in job_specs.';
COMMENT ON COLUMN ready.why IS '{reason, detail, text, at}: why it waits, as its dispatcher said last; null: not yet.';

CREATE TABLE holds (
    tenant text NOT NULL,
    kind   text NOT NULL CHECK (kind IN ('lock', 'matrix', 'group', 'running')),
    name   text NOT NULL,
    holder uuid NOT NULL,
    most   int,
    job_id uuid NOT NULL,
    since  timestamptz NOT NULL,
    PRIMARY KEY (tenant, kind, name, holder)
);
CREATE INDEX holds_of_holder ON holds (holder);
COMMENT ON TABLE holds IS 'Who holds what. No name is held by more than any of its holders bears; of quotas the last word counts.';
COMMENT ON COLUMN holds.tenant IS 'Whose name it is.';
COMMENT ON COLUMN holds.kind IS 'lock; matrix and running: so many at once; group: one pipeline at a time.';
COMMENT ON COLUMN holds.name IS 'Of the lock or group; PIPELINE/KEY of a matrix; the pool of a quota, or *.';
COMMENT ON COLUMN holds.holder IS 'The job, while it has a lease; of a group its pipeline, until it is terminal.';
COMMENT ON COLUMN holds.most IS 'This holder bears so many holders, itself included; null: any number, as of kind running always.';
COMMENT ON COLUMN holds.job_id IS 'The job for which it was taken.';
COMMENT ON COLUMN holds.since IS 'When it was taken.';

ALTER TABLE leases ADD COLUMN held boolean NOT NULL DEFAULT false;
ALTER TABLE leases ADD COLUMN unblocked_at timestamptz;
ALTER TABLE attempts ADD COLUMN unblocked_at timestamptz;
COMMENT ON COLUMN leases.held IS 'Its job holds something, which is to be freed when the attempt ends.';
COMMENT ON COLUMN leases.lasts IS 'Seconds that each lease lasts of an attempt that is exclusive or has a lock; null: as others.';
COMMENT ON COLUMN leases.unblocked_at IS 'Since when nothing but the queue stood before it, by its dispatcher.';
COMMENT ON COLUMN attempts.unblocked_at IS 'Since when nothing but the queue stood before it, by its dispatcher.';

CREATE TABLE concurrency_groups (
    tenant      text NOT NULL,
    name        text NOT NULL,
    pipeline_id uuid PRIMARY KEY,
    since       timestamptz NOT NULL
);
CREATE INDEX concurrency_groups_by_name ON concurrency_groups (tenant, name, since);
COMMENT ON TABLE concurrency_groups IS 'Unfinished pipelines that have a group, which they enter in the order of since.';
COMMENT ON COLUMN concurrency_groups.tenant IS 'Their owner.';
COMMENT ON COLUMN concurrency_groups.name IS 'Of the group.';
COMMENT ON COLUMN concurrency_groups.pipeline_id IS 'The pipeline.';
COMMENT ON COLUMN concurrency_groups.since IS 'When it was accepted; later than of all that were there before it, even if the clock was set back.';
ALTER TABLE pipeline_definitions ADD COLUMN concurrency json;
COMMENT ON COLUMN pipeline_definitions.concurrency IS '{group, cancel_in_progress, queue: all or latest}; null: none.';

ALTER TABLE open_pipelines ADD COLUMN tenant text;
ALTER TABLE open_pipelines ADD COLUMN grouped boolean NOT NULL DEFAULT false;
UPDATE open_pipelines AS o SET tenant = p.tenant FROM pipelines AS p WHERE p.id = o.pipeline_id;
ALTER TABLE open_pipelines ALTER COLUMN tenant SET NOT NULL;
CREATE INDEX open_pipelines_tenant ON open_pipelines (tenant);
COMMENT ON COLUMN open_pipelines.tenant IS 'Its owner.';
COMMENT ON COLUMN open_pipelines.grouped IS 'It has a concurrency group, which its end frees.';

ALTER TABLE cancels ADD COLUMN cause text NOT NULL DEFAULT 'cancelled'
    CHECK (cause IN ('cancelled', 'superseded', 'fail-fast'));
COMMENT ON COLUMN cancels.cause IS 'Reason of the transitions: asked for by somebody, or by a rule.';
COMMENT ON TABLE cancels IS 'Cancels accepted over HTTP, written before the 2xx; and those that a rule asks for.';

CREATE TABLE quotas (
    tenant  text NOT NULL,
    pool    text NOT NULL,
    weight  double precision NOT NULL DEFAULT 1 CHECK (weight > 0),
    minimum int NOT NULL DEFAULT 0 CHECK (minimum >= 0),
    running int CHECK (running >= 0),
    queued  int CHECK (queued >= 0),
    PRIMARY KEY (tenant, pool)
);
COMMENT ON TABLE quotas IS 'What tenants may have of pools.';
COMMENT ON COLUMN quotas.tenant IS 'The tenant; *: every one that has no row of its own for this pool.';
COMMENT ON COLUMN quotas.pool IS 'The pool; *: all of them together.';
COMMENT ON COLUMN quotas.weight IS 'Its share of running slot-time against others''.';
COMMENT ON COLUMN quotas.minimum IS 'So many attempts are its right before others get more.';
COMMENT ON COLUMN quotas.running IS 'Most attempts at once; null: any number.';
COMMENT ON COLUMN quotas.queued IS 'Most unfinished jobs (of pool * only), others are refused; null: any number.';

CREATE TABLE limits (
    tenant       text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('tenant', 'pool', 'lock')),
    name         text NOT NULL,
    per_second   double precision CHECK (per_second > 0),
    burst        int NOT NULL DEFAULT 1 CHECK (burst >= 1),
    tokens       double precision NOT NULL DEFAULT 1,
    filled_at    timestamptz NOT NULL,
    closed_until timestamptz,
    PRIMARY KEY (tenant, kind, name)
);
CREATE INDEX limits_of_all ON limits (name) WHERE kind <> 'lock';
COMMENT ON TABLE limits IS 'Rates at which jobs are claimed: token buckets, and gates that are closed for a while.';
COMMENT ON COLUMN limits.tenant IS 'Whose jobs it holds back; *: everybody''s, of kind pool.';
COMMENT ON COLUMN limits.kind IS 'tenant: all its jobs; pool: all jobs there; lock: jobs that take the lock of this name.';
COMMENT ON COLUMN limits.name IS 'Of the tenant, the pool or the lock.';
COMMENT ON COLUMN limits.per_second IS 'Claims a second; null: any number.';
COMMENT ON COLUMN limits.burst IS 'Most claims at once after a pause.';
COMMENT ON COLUMN limits.tokens IS 'Claims that there were left at filled_at.';
COMMENT ON COLUMN limits.filled_at IS 'When tokens was true.';
COMMENT ON COLUMN limits.closed_until IS 'Nothing is claimed before this, whatever is left; null or past: it is open.';

CREATE TABLE pools (
    pool       text PRIMARY KEY,
    paused_at  timestamptz,
    paused_by  text,
    overtaking int NOT NULL DEFAULT 0 CHECK (overtaking >= 0)
);
COMMENT ON TABLE pools IS 'Pools about which something was said.';
COMMENT ON COLUMN pools.pool IS 'Its name.';
COMMENT ON COLUMN pools.paused_at IS 'Since when nothing of it is claimed; null: it is not paused.';
COMMENT ON COLUMN pools.paused_by IS 'Who paused it.';
COMMENT ON COLUMN pools.overtaking IS 'So many younger jobs may be claimed before one that waits for a lock; 0: none that wants it, too.';

CREATE TABLE runner_orders (
    name  text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('DRAINING', 'QUARANTINED')),
    by    text NOT NULL,
    at    timestamptz NOT NULL
);
COMMENT ON TABLE runner_orders IS 'Runners that get no jobs, by somebody''s order.';
COMMENT ON COLUMN runner_orders.name IS 'The runner''s name, of every session that it has.';
COMMENT ON COLUMN runner_orders.state IS 'DRAINING: what it runs may end; QUARANTINED: it is kept for a look at it.';
COMMENT ON COLUMN runner_orders.by IS 'Who said so.';
COMMENT ON COLUMN runner_orders.at IS 'When.';

DROP FUNCTION IF EXISTS claim_v1(uuid[], uuid[], uuid[], bigint[], double precision, double precision, text);
