-- One login role a service, with what it needs and no more: EXECUTE on its transitions, SELECT where it reads.
-- Passwords are the operator's: ALTER ROLE penstock_intake PASSWORD '…' (the local stack sets random ones).
-- The planner flags keep generic plans of the transitions on index lookups (facts: hash joins read whole
-- partitions to update 50 rows). They hang on the role, so a pooler does not lose them; the gateway, which
-- also reports, has none.
-- The timeouts bound what one statement may do to all others; who meets one tries again, for every statement may be
-- repeated. An operator's own values stay.
--   lock_timeout 10 s: others hold their rows for milliseconds, but a cancel of thousands of jobs for seconds; and
--     detaching a partition waits for an exclusive lock, while all others queue up behind it.
--   statement_timeout 300 s: the largest statements accept or cancel the largest pipelines, and one that can never end in
--     time would be tried for ever. Measured on two busy cores: 1,000 jobs with 10,000 edges 1.2 s, their cancel 0.5 s; a
--     pipeline may have ten times that. The gateway, 10 s: its callers wait no longer than that.
--   transaction_timeout 330 s: statements end before that. It ends a session whose client was stopped while it was being
--     answered: that one holds its rows, and no other timeout reaches it.
DO $$
DECLARE
    role    text;
    flag    text;
    setting text;
BEGIN
    FOREACH role IN ARRAY ARRAY['intake', 'advancer', 'dispatcher', 'reaper', 'canceller', 'logs', 'gateway'] LOOP
        role := 'penstock_' || role;
        BEGIN
            IF to_regrole(role) IS NULL THEN
                EXECUTE format('CREATE ROLE %I LOGIN', role);
            END IF;
            FOR flag, setting IN
                SELECT s.flag, s.setting FROM (VALUES ('lock_timeout', '10s'), ('transaction_timeout', '330s'),
                    ('statement_timeout', CASE role WHEN 'penstock_gateway' THEN '10s' ELSE '300s' END),
                    ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('enable_seqscan', 'off'),
                    ('plan_cache_mode', 'force_generic_plan')) AS s(flag, setting)
                WHERE (role <> 'penstock_gateway' OR s.flag LIKE '%timeout')
                    AND NOT EXISTS (SELECT FROM pg_db_role_setting AS kept, unnest(kept.setconfig) AS one
                        WHERE kept.setrole = to_regrole(role) AND kept.setdatabase = 0
                            AND one LIKE s.flag || '=%')
            LOOP
                EXECUTE format('ALTER ROLE %I SET %I = %L', role, flag, setting);
            END LOOP;
        EXCEPTION WHEN duplicate_object OR unique_violation OR internal_error THEN
            NULL;  -- Another database of this cluster is being set up at this moment.
        END;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END LOOP;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('ALTER DATABASE %I SET timezone = ''UTC''', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO penstock_intake, penstock_advancer, penstock_dispatcher, penstock_reaper,
    penstock_canceller, penstock_logs, penstock_gateway;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

GRANT EXECUTE ON FUNCTION clock_v1, acked_v1 TO penstock_intake, penstock_advancer, penstock_dispatcher,
    penstock_reaper, penstock_canceller, penstock_logs, penstock_gateway;

GRANT EXECUTE ON FUNCTION accept_v1, reject_v1, cancel_v1, pipeline_record_v1 TO penstock_intake;
GRANT SELECT ON requests, request_conflicts, pipelines, cancels TO penstock_intake;
GRANT SELECT, INSERT ON tenants TO penstock_intake;

GRANT EXECUTE ON FUNCTION start_v1, finish_v1, release_v1, late_v1, undecided_v1, resolve_v1, cancel_v1
    TO penstock_advancer;

GRANT EXECUTE ON FUNCTION claim_v1, refuse_v1, policies_v1, held_leases_v1, explain_v1 TO penstock_dispatcher;
GRANT SELECT ON ready, leases, holds TO penstock_dispatcher;

GRANT EXECUTE ON FUNCTION renew_v1, start_v1, release_v1, expired_sessions_v1, expired_v1, retry_due_v1,
    relay_v1, lost_v1, unapplied_v1, ensure_partitions_v1, detach_partitions_v1, forget_v1,
    close_unknown_logs_v1, outage_v1, due_sessions_v1, stop_due_v1, queue_due_v1,
    reconcile_v1 TO penstock_reaper;
GRANT SELECT ON outbox, ready, leases, timers TO penstock_reaper;
GRANT SELECT, UPDATE, DELETE ON workers TO penstock_reaper;
GRANT EXECUTE ON FUNCTION meet_cluster_v1, take_history_v1, gave_history_v1 TO penstock_reaper;
GRANT SELECT, INSERT, DELETE ON past_workers TO penstock_reaper;

GRANT EXECUTE ON FUNCTION cancel_v1, waiting_cancels_v1 TO penstock_canceller;
GRANT SELECT, INSERT ON cancels TO penstock_canceller;

GRANT EXECUTE ON FUNCTION index_chunks_v1, log_heads_v1, log_states_v1, open_logs_v1, register_v1
    TO penstock_logs;
GRANT SELECT ON log_chunks, log_heads, attempts, jobs, workers TO penstock_logs;

GRANT EXECUTE ON FUNCTION receive_v1, request_cancel_v1, rerun_v1, pipeline_record_v1, counts_v1, log_states_v1
    TO penstock_gateway;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO penstock_gateway;
GRANT EXECUTE ON FUNCTION promote_v1 TO penstock_gateway;
