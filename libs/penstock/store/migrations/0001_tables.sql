-- The tables. Rules that hold here (docs/adr): no foreign key to jobs, no index on jobs whose key or
-- predicate names a mutable column, no default partition; what changes often lives in small side tables.

CREATE TABLE tenants (
    tenant      text PRIMARY KEY CHECK (tenant ~ '^[a-z0-9-]{1,63}$'),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE tenants IS 'Who may own pipelines.';
COMMENT ON COLUMN tenants.tenant IS 'Name, 1..63 of [a-z0-9-].';
COMMENT ON COLUMN tenants.created_at IS 'When it was registered.';

CREATE TABLE tokens (
    token_id    uuid PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    tenant      text NOT NULL REFERENCES tenants,
    name        text NOT NULL,
    scopes      text[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);
COMMENT ON TABLE tokens IS 'Bearer tokens of the HTTP door; only their SHA-256 is kept.';
COMMENT ON COLUMN tokens.token_id IS 'Public name of the token, for listing and revoking.';
COMMENT ON COLUMN tokens.hash IS 'SHA-256 of the token''s text.';
COMMENT ON COLUMN tokens.tenant IS 'The tenant it speaks for.';
COMMENT ON COLUMN tokens.name IS 'What it was made for, in words.';
COMMENT ON COLUMN tokens.scopes IS 'read, write, admin.';
COMMENT ON COLUMN tokens.created_at IS 'When it was made.';
COMMENT ON COLUMN tokens.expires_at IS 'From when it is refused; null: never.';
COMMENT ON COLUMN tokens.revoked_at IS 'When it was revoked; null: it was not.';

CREATE TABLE requests (
    tenant      text NOT NULL,
    key         text NOT NULL,
    hash        bytea NOT NULL,
    pipeline_id uuid NOT NULL,
    state       text NOT NULL CHECK (state IN ('RECEIVED', 'ACCEPTED', 'REJECTED')),
    body        text,
    received_at timestamptz NOT NULL,
    publish_at  timestamptz,
    publishes   int NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, key),
    CHECK ((state = 'RECEIVED') = (body IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX requests_waiting ON requests (publish_at) WHERE state = 'RECEIVED';
CREATE INDEX requests_received ON requests (pipeline_id) WHERE state = 'RECEIVED';
CREATE INDEX requests_by_age ON requests (received_at);
COMMENT ON TABLE requests IS 'Idempotency: one row a (tenant, request key), kept 90 days.';
COMMENT ON COLUMN requests.tenant IS 'Owner of the key.';
COMMENT ON COLUMN requests.key IS 'request_id, ce_id or Idempotency-Key of the client, <= 128 bytes.';
COMMENT ON COLUMN requests.hash IS 'SHA-256 of the canonical JSON of what was asked for.';
COMMENT ON COLUMN requests.pipeline_id IS 'The pipeline that this key means, for ever.';
COMMENT ON COLUMN requests.state IS 'RECEIVED by the gateway only, ACCEPTED by intake, or REJECTED.';
COMMENT ON COLUMN requests.body IS 'The record to publish again while RECEIVED; null after.';
COMMENT ON COLUMN requests.received_at IS 'First receipt.';
COMMENT ON COLUMN requests.publish_at IS 'When the sweep publishes it again.';
COMMENT ON COLUMN requests.publishes IS 'How often the sweep has published it.';

CREATE TABLE request_conflicts (
    tenant      text NOT NULL,
    key         text NOT NULL,
    hash        bytea NOT NULL,
    pipeline_id uuid NOT NULL,
    PRIMARY KEY (tenant, key, hash)
);
COMMENT ON TABLE request_conflicts IS 'Requests refused because their key or id means another pipeline.';
COMMENT ON COLUMN request_conflicts.tenant IS 'Owner of the key.';
COMMENT ON COLUMN request_conflicts.key IS 'The key that was used twice.';
COMMENT ON COLUMN request_conflicts.hash IS 'Hash of the refused body: a redelivery makes no second row.';
COMMENT ON COLUMN request_conflicts.pipeline_id IS 'Id under which the refusal is published.';

CREATE TABLE cancels (
    cancel_id    uuid PRIMARY KEY,
    tenant       text NOT NULL,
    pipeline_id  uuid NOT NULL,
    job_id       uuid,
    reason       text NOT NULL DEFAULT '',
    requested_by text NOT NULL DEFAULT '',
    received_at  timestamptz NOT NULL,
    applied_at   timestamptz
);
CREATE INDEX cancels_waiting ON cancels (pipeline_id) WHERE applied_at IS NULL;
COMMENT ON TABLE cancels IS 'Cancels accepted over HTTP, written before the 2xx.';
COMMENT ON COLUMN cancels.cancel_id IS 'UUIDv7.';
COMMENT ON COLUMN cancels.tenant IS 'Owner of the pipeline.';
COMMENT ON COLUMN cancels.pipeline_id IS 'Pipeline to end; may be received but not accepted yet.';
COMMENT ON COLUMN cancels.job_id IS 'Only this job; null: the whole pipeline.';
COMMENT ON COLUMN cancels.reason IS 'Words of whoever asked.';
COMMENT ON COLUMN cancels.requested_by IS 'Token or user that asked.';
COMMENT ON COLUMN cancels.received_at IS 'When it was accepted.';
COMMENT ON COLUMN cancels.applied_at IS 'When its jobs were CANCELLED or CANCELLING; null: not yet.';

CREATE TABLE pipelines (
    id             uuid PRIMARY KEY,
    tenant         text NOT NULL,
    request_id     text NOT NULL,
    name           text NOT NULL,
    state          text NOT NULL CHECK (state IN
        ('REJECTED', 'PENDING', 'RUNNING', 'CANCELLING', 'SUCCESS', 'FAILED', 'CANCELLED')),
    previous       text,
    version        int NOT NULL,
    reason         text,
    trigger        text,
    repo           text,
    sha            text,
    branch         text,
    git            json,
    counts         json NOT NULL,
    errors         json,
    rerun_of       uuid,
    created_at     timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    started_at     timestamptz,
    finished_at    timestamptz
) WITH (fillfactor = 70);
CREATE INDEX pipelines_newest ON pipelines (tenant, created_at DESC, id DESC);
CREATE INDEX pipelines_of_repo ON pipelines (tenant, repo, created_at DESC, id DESC);
COMMENT ON TABLE pipelines IS 'One row a pipeline, REJECTED ones too; state is a function of its jobs.';
COMMENT ON COLUMN pipelines.id IS 'UUIDv7, the client''s or made by intake.';
COMMENT ON COLUMN pipelines.tenant IS 'Owner.';
COMMENT ON COLUMN pipelines.request_id IS 'The key under which it was asked for.';
COMMENT ON COLUMN pipelines.name IS 'From the definition.';
COMMENT ON COLUMN pipelines.state IS 'See core.states.';
COMMENT ON COLUMN pipelines.previous IS 'State before the last transition.';
COMMENT ON COLUMN pipelines.version IS 'Counts transitions from 1.';
COMMENT ON COLUMN pipelines.reason IS 'Why, protocol §7.';
COMMENT ON COLUMN pipelines.trigger IS 'manual, push, pull_request, schedule or api.';
COMMENT ON COLUMN pipelines.repo IS 'git.repo, for the history of a repository.';
COMMENT ON COLUMN pipelines.sha IS 'git.sha, 40 or 64 hex.';
COMMENT ON COLUMN pipelines.branch IS 'git.branch.';
COMMENT ON COLUMN pipelines.git IS 'The git object as it was given.';
COMMENT ON COLUMN pipelines.counts IS 'Jobs by state at the last pipeline transition.';
COMMENT ON COLUMN pipelines.errors IS 'Why it was REJECTED: list of problems.';
COMMENT ON COLUMN pipelines.rerun_of IS 'Pipeline of which this is a rerun.';
COMMENT ON COLUMN pipelines.created_at IS 'Acceptance or rejection.';
COMMENT ON COLUMN pipelines.changed_at IS 'Last transition.';
COMMENT ON COLUMN pipelines.started_at IS 'First job RUNNING.';
COMMENT ON COLUMN pipelines.finished_at IS 'Terminal.';

CREATE TABLE pipeline_definitions (
    pipeline_id uuid PRIMARY KEY,
    definition  json,
    sha256      text,
    inputs      json,
    env         json
);
COMMENT ON TABLE pipeline_definitions IS 'What was asked for, beside the hot row; insert-only.';
COMMENT ON COLUMN pipeline_definitions.pipeline_id IS 'Of this pipeline.';
COMMENT ON COLUMN pipeline_definitions.definition IS 'The definition as an object; null when by reference.';
COMMENT ON COLUMN pipeline_definitions.sha256 IS 'Digest of the definition in object storage.';
COMMENT ON COLUMN pipeline_definitions.inputs IS 'Inputs of the request.';
COMMENT ON COLUMN pipeline_definitions.env IS 'Environment of the request.';

CREATE TABLE open_pipelines (
    pipeline_id uuid PRIMARY KEY,
    remaining   int NOT NULL CHECK (remaining >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE open_pipelines IS 'The unfinished ones: sweeps start here, never in history.';
COMMENT ON COLUMN open_pipelines.pipeline_id IS 'A pipeline that is not terminal.';
COMMENT ON COLUMN open_pipelines.remaining IS 'Jobs of it that are not terminal.';

CREATE TABLE pipeline_transitions (
    pipeline_id uuid NOT NULL,
    version     int NOT NULL,
    state       text NOT NULL,
    previous    text,
    reason      text,
    at          timestamptz NOT NULL,
    counts      json NOT NULL,
    actor       text NOT NULL,
    PRIMARY KEY (pipeline_id, version)
);
COMMENT ON TABLE pipeline_transitions IS 'Every version of every pipeline, append-only.';
COMMENT ON COLUMN pipeline_transitions.pipeline_id IS 'Of this pipeline.';
COMMENT ON COLUMN pipeline_transitions.version IS '1..n without gaps.';
COMMENT ON COLUMN pipeline_transitions.state IS 'State entered.';
COMMENT ON COLUMN pipeline_transitions.previous IS 'State left; null at creation.';
COMMENT ON COLUMN pipeline_transitions.reason IS 'Why.';
COMMENT ON COLUMN pipeline_transitions.at IS 'Database clock.';
COMMENT ON COLUMN pipeline_transitions.counts IS 'Jobs by state at that moment.';
COMMENT ON COLUMN pipeline_transitions.actor IS 'Service and replica that did it.';

CREATE TABLE jobs (
    id                uuid NOT NULL PRIMARY KEY,
    pipeline_id       uuid NOT NULL,
    tenant            text NOT NULL,
    name              text NOT NULL,
    pool              text NOT NULL,
    lane              text NOT NULL CHECK (lane IN ('critical', 'high', 'normal')),
    state             text NOT NULL CHECK (state IN ('PENDING', 'WAITING', 'QUEUED', 'ASSIGNED', 'RUNNING',
        'RETRYING', 'CANCELLING', 'SUCCESS', 'FAILED', 'CANCELLED', 'SKIPPED')),
    previous          text,
    reason            text,
    version           int NOT NULL,
    attempt           int NOT NULL DEFAULT 0,
    tries             int NOT NULL DEFAULT 0,
    infra_tries       int NOT NULL DEFAULT 0,
    unstarted         int NOT NULL DEFAULT 0,
    unmet             int NOT NULL,
    bad_needs         int NOT NULL DEFAULT 0,
    retry_max         smallint NOT NULL DEFAULT 0,
    continue_on_error boolean NOT NULL DEFAULT false,
    conditional       boolean NOT NULL DEFAULT false,
    token             uuid,
    session_id        uuid,
    exit_code         int,
    duration_ms       bigint,
    changed_at        timestamptz NOT NULL,
    CHECK ((token IS NOT NULL) = (state IN ('ASSIGNED', 'RUNNING', 'CANCELLING'))),
    CHECK (state <> 'QUEUED' OR unmet = 0),
    CHECK (unmet >= 0)
) PARTITION BY RANGE (id);
CREATE INDEX jobs_of_pipeline ON jobs (pipeline_id);
COMMENT ON TABLE jobs IS 'The authoritative state of every job, changed only by compare-and-swap.';
COMMENT ON COLUMN jobs.id IS 'UUIDv7, made by intake.';
COMMENT ON COLUMN jobs.pipeline_id IS 'Its pipeline.';
COMMENT ON COLUMN jobs.tenant IS 'Its owner.';
COMMENT ON COLUMN jobs.name IS 'Name in the definition.';
COMMENT ON COLUMN jobs.pool IS 'Pool of runners, frozen at intake.';
COMMENT ON COLUMN jobs.lane IS 'critical, high or normal.';
COMMENT ON COLUMN jobs.state IS 'See core.states.';
COMMENT ON COLUMN jobs.previous IS 'State before the last transition.';
COMMENT ON COLUMN jobs.reason IS 'Why it entered its state, protocol §7.';
COMMENT ON COLUMN jobs.version IS 'Counts transitions from 1; the CAS of everything.';
COMMENT ON COLUMN jobs.attempt IS 'Counts claims; never reused.';
COMMENT ON COLUMN jobs.tries IS 'Counts starts.';
COMMENT ON COLUMN jobs.infra_tries IS 'Starts lost to worker-lost or infra-error, not charged to retry_max.';
COMMENT ON COLUMN jobs.unstarted IS 'Claims in a row whose lease ended without a start.';
COMMENT ON COLUMN jobs.unmet IS 'Needs that are not terminal yet.';
COMMENT ON COLUMN jobs.bad_needs IS 'Needs that ended neither SUCCESS nor FAILED with continue-on-error.';
COMMENT ON COLUMN jobs.retry_max IS 'Further tries after the first.';
COMMENT ON COLUMN jobs.continue_on_error IS 'Its failure does not fail the pipeline.';
COMMENT ON COLUMN jobs.conditional IS 'Has an if: the pure decide must be asked, SQL may not queue it.';
COMMENT ON COLUMN jobs.token IS 'Fence of the live attempt; null when none is alive.';
COMMENT ON COLUMN jobs.session_id IS 'Worker session of the last attempt.';
COMMENT ON COLUMN jobs.exit_code IS 'Of the last ended attempt.';
COMMENT ON COLUMN jobs.duration_ms IS 'Of the last ended attempt, by the runner''s monotonic clock.';
COMMENT ON COLUMN jobs.changed_at IS 'Last transition.';

CREATE TABLE job_specs (
    job_id      uuid NOT NULL PRIMARY KEY,
    pipeline_id uuid NOT NULL,
    stage       text,
    executor    text NOT NULL,
    labels      text[] NOT NULL,
    condition   text NOT NULL,
    needs       json,
    spec        json NOT NULL
) PARTITION BY RANGE (job_id);
COMMENT ON TABLE job_specs IS 'What never changes of a job; insert-only.';
COMMENT ON COLUMN job_specs.job_id IS 'Of this job.';
COMMENT ON COLUMN job_specs.pipeline_id IS 'Its pipeline.';
COMMENT ON COLUMN job_specs.stage IS 'Stage as written.';
COMMENT ON COLUMN job_specs.executor IS 'process, noop or a plug-in''s name.';
COMMENT ON COLUMN job_specs.labels IS 'Labels that a runner must have.';
COMMENT ON COLUMN job_specs.condition IS 'Empty, always, failure, success.';
COMMENT ON COLUMN job_specs.needs IS 'Needs as written.';
COMMENT ON COLUMN job_specs.spec IS 'What the runner gets.';

CREATE TABLE edges (
    parent_id   uuid NOT NULL,
    child_id    uuid NOT NULL,
    PRIMARY KEY (parent_id, child_id)
) PARTITION BY RANGE (parent_id);
CREATE INDEX edges_by_child ON edges (child_id);
COMMENT ON TABLE edges IS 'child needs parent. Never deleted: they leave with their partition.';
COMMENT ON COLUMN edges.parent_id IS 'The job that must end first.';
COMMENT ON COLUMN edges.child_id IS 'The job that waits.';

CREATE TABLE attempts (
    job_id      uuid NOT NULL,
    attempt     int NOT NULL,
    session_id  uuid NOT NULL,
    assigned_at timestamptz NOT NULL,
    started_at  timestamptz,
    ended_at    timestamptz NOT NULL,
    state       text NOT NULL,
    reason      text,
    exit_code   int,
    duration_ms bigint,
    last_seq    bigint,
    PRIMARY KEY (job_id, attempt)
) PARTITION BY RANGE (job_id);
COMMENT ON TABLE attempts IS 'Ended attempts, insert-only; the living one is in leases.';
COMMENT ON COLUMN attempts.job_id IS 'Of this job.';
COMMENT ON COLUMN attempts.attempt IS 'Number of the claim.';
COMMENT ON COLUMN attempts.session_id IS 'Worker session that held it.';
COMMENT ON COLUMN attempts.assigned_at IS 'Claim.';
COMMENT ON COLUMN attempts.started_at IS 'Start; null when it never ran.';
COMMENT ON COLUMN attempts.ended_at IS 'End.';
COMMENT ON COLUMN attempts.state IS 'State that the job entered when it ended.';
COMMENT ON COLUMN attempts.reason IS 'Why.';
COMMENT ON COLUMN attempts.exit_code IS 'Exit code, 128 + signal when killed.';
COMMENT ON COLUMN attempts.duration_ms IS 'Runner''s monotonic clock.';
COMMENT ON COLUMN attempts.last_seq IS 'Number of its last log line; null when unknown.';

CREATE TABLE job_transitions (
    tenant      text NOT NULL,
    pipeline_id uuid NOT NULL,
    job_id      uuid NOT NULL,
    name        text NOT NULL,
    pool        text NOT NULL,
    lane        text NOT NULL,
    attempt     int NOT NULL,
    tries       int NOT NULL,
    version     int NOT NULL,
    state       text NOT NULL,
    previous    text,
    terminal    boolean NOT NULL,
    reason      text,
    exit_code   int,
    worker      uuid,
    at          timestamptz NOT NULL,
    duration_ms bigint,
    actor       text NOT NULL,
    PRIMARY KEY (job_id, version)
) PARTITION BY RANGE (job_id);
COMMENT ON TABLE job_transitions IS 'Every version of every job, append-only: exactly the status records.';
COMMENT ON COLUMN job_transitions.tenant IS 'Owner.';
COMMENT ON COLUMN job_transitions.pipeline_id IS 'Its pipeline.';
COMMENT ON COLUMN job_transitions.job_id IS 'The job.';
COMMENT ON COLUMN job_transitions.name IS 'Its name.';
COMMENT ON COLUMN job_transitions.pool IS 'Its pool.';
COMMENT ON COLUMN job_transitions.lane IS 'Its lane.';
COMMENT ON COLUMN job_transitions.attempt IS 'Attempt at that moment.';
COMMENT ON COLUMN job_transitions.tries IS 'Starts so far.';
COMMENT ON COLUMN job_transitions.version IS '1..n without gaps.';
COMMENT ON COLUMN job_transitions.state IS 'State entered.';
COMMENT ON COLUMN job_transitions.previous IS 'State left; null at creation.';
COMMENT ON COLUMN job_transitions.terminal IS 'Whether the state is terminal.';
COMMENT ON COLUMN job_transitions.reason IS 'Why.';
COMMENT ON COLUMN job_transitions.exit_code IS 'Exit code, when an attempt ended.';
COMMENT ON COLUMN job_transitions.worker IS 'Worker session of the attempt.';
COMMENT ON COLUMN job_transitions.at IS 'Database clock.';
COMMENT ON COLUMN job_transitions.duration_ms IS 'Of the ended attempt.';
COMMENT ON COLUMN job_transitions.actor IS 'Service and replica that did it.';

CREATE TABLE ready (
    job_id      uuid PRIMARY KEY,
    pipeline_id uuid NOT NULL,
    tenant      text NOT NULL,
    pool        text NOT NULL,
    lane        text NOT NULL,
    executor    text NOT NULL,
    labels      text[] NOT NULL,
    queued_at   timestamptz NOT NULL
);
COMMENT ON TABLE ready IS 'The queue: one row a QUEUED job, with all that dispatch needs.';
COMMENT ON COLUMN ready.job_id IS 'A QUEUED job.';
COMMENT ON COLUMN ready.pipeline_id IS 'Its pipeline.';
COMMENT ON COLUMN ready.tenant IS 'Its owner.';
COMMENT ON COLUMN ready.pool IS 'Pool that must run it.';
COMMENT ON COLUMN ready.lane IS 'Its lane.';
COMMENT ON COLUMN ready.executor IS 'Executor it needs.';
COMMENT ON COLUMN ready.labels IS 'Labels that a runner must have.';
COMMENT ON COLUMN ready.queued_at IS 'Since when it waits.';

CREATE TABLE leases (
    job_id      uuid PRIMARY KEY,
    attempt     int NOT NULL,
    token       uuid NOT NULL,
    session_id  uuid NOT NULL,
    started     boolean NOT NULL DEFAULT false,
    cancelling  boolean NOT NULL DEFAULT false,
    assigned_at timestamptz NOT NULL,
    started_at  timestamptz,
    expires_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE leases IS 'One row a living attempt; no index on time, a scan is cheaper (facts §7).';
COMMENT ON COLUMN leases.job_id IS 'The job.';
COMMENT ON COLUMN leases.attempt IS 'The attempt that holds it.';
COMMENT ON COLUMN leases.token IS 'The attempt''s fence.';
COMMENT ON COLUMN leases.session_id IS 'The worker session.';
COMMENT ON COLUMN leases.started IS 'False: granted only, lives three heartbeats and is not renewed.';
COMMENT ON COLUMN leases.cancelling IS 'The session is told to stop it at every renewal.';
COMMENT ON COLUMN leases.assigned_at IS 'Claim.';
COMMENT ON COLUMN leases.started_at IS 'Start.';
COMMENT ON COLUMN leases.expires_at IS 'When it is void by the database clock unless renewed.';

CREATE TABLE timers (
    job_id      uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('retry', 'run', 'queue', 'grace')),
    due_at      timestamptz NOT NULL,
    token       uuid,
    PRIMARY KEY (job_id, kind)
);
CREATE INDEX timers_due ON timers (due_at);
COMMENT ON TABLE timers IS 'Moments at which something happens to a job by itself.';
COMMENT ON COLUMN timers.job_id IS 'The job.';
COMMENT ON COLUMN timers.kind IS 'retry: back to QUEUED; run, queue, grace: limits.';
COMMENT ON COLUMN timers.due_at IS 'When.';
COMMENT ON COLUMN timers.token IS 'Attempt it belongs to; null for those between attempts.';

CREATE TABLE workers (
    session_id   uuid PRIMARY KEY,
    kind         text NOT NULL,
    name         text NOT NULL,
    pool         text,
    state        text NOT NULL CHECK (state IN ('IDLE', 'BUSY', 'DRAINING', 'OFFLINE')),
    slots        int NOT NULL DEFAULT 0,
    attempts     int NOT NULL DEFAULT 0,
    capacity     json,
    labels       text[] NOT NULL DEFAULT '{}',
    heartbeat    bigint NOT NULL DEFAULT 0,
    address      text,
    partitions   int[] NOT NULL DEFAULT '{}',
    registered_at timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE workers IS 'Sessions of every kind of process; a hint for people and tails, never a lock.';
COMMENT ON COLUMN workers.session_id IS 'One start of one process.';
COMMENT ON COLUMN workers.kind IS 'runner, logs, or another service''s name.';
COMMENT ON COLUMN workers.name IS 'Name of the machine or replica.';
COMMENT ON COLUMN workers.pool IS 'Pool of a runner.';
COMMENT ON COLUMN workers.state IS 'IDLE, BUSY, DRAINING or OFFLINE.';
COMMENT ON COLUMN workers.slots IS 'Attempts it runs at once.';
COMMENT ON COLUMN workers.attempts IS 'Attempts it holds now.';
COMMENT ON COLUMN workers.capacity IS '{cpu, memory, arch}.';
COMMENT ON COLUMN workers.labels IS 'What it offers.';
COMMENT ON COLUMN workers.heartbeat IS 'Number of the newest heartbeat seen.';
COMMENT ON COLUMN workers.address IS 'host:port of its inner HTTP server.';
COMMENT ON COLUMN workers.partitions IS 'Log partitions that it owns.';
COMMENT ON COLUMN workers.registered_at IS 'First seen.';
COMMENT ON COLUMN workers.seen_at IS 'Last seen.';

CREATE TABLE outbox (
    id         uuid PRIMARY KEY,
    created_at timestamptz NOT NULL,
    actor      text NOT NULL,
    events     json NOT NULL
);
-- A row lives for milliseconds: compressing it costs more CPU than its bytes are worth.
ALTER TABLE outbox ALTER COLUMN events SET STORAGE EXTERNAL;
COMMENT ON TABLE outbox IS 'Events of committed transactions whose records are not acked yet; one row a transaction.';
COMMENT ON COLUMN outbox.id IS 'Random; never paged by.';
COMMENT ON COLUMN outbox.created_at IS 'Commit, about.';
COMMENT ON COLUMN outbox.actor IS 'Service and replica that publishes them first.';
COMMENT ON COLUMN outbox.events IS '{jobs, pipelines, ready, grants, stops}: lists of records'' values.';

CREATE TABLE log_heads (
    job_id     uuid NOT NULL,
    attempt    int NOT NULL,
    tenant     text NOT NULL,
    partition  int NOT NULL,
    lines      bigint NOT NULL,
    last_seq   bigint NOT NULL,
    end_seq    bigint,
    closed     boolean NOT NULL,
    PRIMARY KEY (job_id, attempt),
    CHECK (lines <= last_seq)
) WITH (fillfactor = 70);
CREATE INDEX log_heads_open ON log_heads (partition) WHERE NOT closed;
COMMENT ON TABLE log_heads IS 'How far the log of an attempt is stored; the CAS of its index is on lines.';
COMMENT ON COLUMN log_heads.job_id IS 'The job.';
COMMENT ON COLUMN log_heads.attempt IS 'The attempt.';
COMMENT ON COLUMN log_heads.tenant IS 'Owner.';
COMMENT ON COLUMN log_heads.partition IS 'Partition of its frames: whose replica closes it.';
COMMENT ON COLUMN log_heads.lines IS 'Lines stored and indexed; fewer than last_seq while some before it miss.';
COMMENT ON COLUMN log_heads.last_seq IS 'Number of the last line that is stored and indexed.';
COMMENT ON COLUMN log_heads.end_seq IS 'Last line that there is, by the end-of-log record or the report; null: unknown.';
COMMENT ON COLUMN log_heads.closed IS 'All lines are there (lines = end_seq), or the rest was given up on.';

CREATE TABLE log_chunks (
    job_id      uuid NOT NULL,
    attempt     int NOT NULL,
    first_seq   bigint NOT NULL,
    last_seq    bigint NOT NULL,
    object_key  text NOT NULL,
    bytes       int NOT NULL,
    raw_bytes   int NOT NULL,
    first_ts    bigint NOT NULL,
    last_ts     bigint NOT NULL,
    frames      json NOT NULL,
    cluster_id  text NOT NULL,
    partition   int NOT NULL,
    next_offset bigint NOT NULL,
    stored_at   timestamptz NOT NULL,
    PRIMARY KEY (job_id, attempt, first_seq)
);
COMMENT ON TABLE log_chunks IS 'The index of stored log chunks; it decides what exists.';
COMMENT ON COLUMN log_chunks.job_id IS 'The job.';
COMMENT ON COLUMN log_chunks.attempt IS 'The attempt.';
COMMENT ON COLUMN log_chunks.first_seq IS 'First line in it.';
COMMENT ON COLUMN log_chunks.last_seq IS 'Last line in it.';
COMMENT ON COLUMN log_chunks.object_key IS 'Where it lies.';
COMMENT ON COLUMN log_chunks.bytes IS 'Size as stored.';
COMMENT ON COLUMN log_chunks.raw_bytes IS 'Size of the NDJSON.';
COMMENT ON COLUMN log_chunks.first_ts IS 'Time of the first line, Unix ms.';
COMMENT ON COLUMN log_chunks.last_ts IS 'Time of the last line, Unix ms.';
COMMENT ON COLUMN log_chunks.frames IS '[[byte offset, first seq], …] of its zstd frames.';
COMMENT ON COLUMN log_chunks.cluster_id IS 'Kafka cluster it was read from.';
COMMENT ON COLUMN log_chunks.partition IS 'Partition it was read from.';
COMMENT ON COLUMN log_chunks.next_offset IS 'Offset behind its last record.';
COMMENT ON COLUMN log_chunks.stored_at IS 'When it was indexed.';

CREATE TABLE reaper_clock (
    reaper  text PRIMARY KEY,
    last_ok timestamptz NOT NULL
);
COMMENT ON TABLE reaper_clock IS 'When each reaper last saw a healthy database: gaps extend leases.';
COMMENT ON COLUMN reaper_clock.reaper IS 'Replica.';
COMMENT ON COLUMN reaper_clock.last_ok IS 'Database clock at its last good tick.';

CREATE FUNCTION clock_v1() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';
COMMENT ON FUNCTION clock_v1 IS 'The only time that stored times are compared with; simulation replaces it.';
