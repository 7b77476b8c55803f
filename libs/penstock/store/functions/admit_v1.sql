-- Who of these QUEUED jobs may be claimed now: one after the other as they came into the queue, each has all its
-- wishes, or nothing. Wishes are the holds of its ready row; where its tenant has quotas of running, one of its pool
-- and one of all pools; and a token of every limit that is set for it. Nobody else decides about the same names
-- meanwhile: they are locked in the order of their hashes, behind the jobs, whose rows the caller has locked.
-- A name is had by one more when all that hold it bear that, the new one included; of quotas the newest word counts, so
-- who runs already bears any number. A pipeline holds its group once, and enters it when none is before it, unless it is
-- superseded. Of those that are no longer QUEUED nothing is said.
-- Returns who is refused, who holds something now, who a lock, and waits: of each refused [{job_id, kind, name, most,
-- held, holder, since}], held: by how many, holder and since: of the oldest; or, of a limit, [{job_id, kind: limit,
-- name: KIND/NAME, opens_at (Unix time), opens_in}], seconds.
CREATE OR REPLACE FUNCTION admit_v1(wanted uuid[], OUT refused uuid[], OUT holding uuid[], OUT locked uuid[],
    OUT waits json)
LANGUAGE plpgsql AS $$
DECLARE
    at      timestamptz;
    asked   holds[];
    keys    text[];
    named   int[];
    taken   int[];
    bears   int[];
    entered uuid[];
    behind  uuid[];
    job     record;
    wish    int;
    got     int[] := '{}';
    missed  int[] := '{}';
BEGIN
    -- One element a wish, in the order of the queue; of limits the kind is limit/KIND. Keys are what is wished for, each
    -- once; named says which.
    WITH r AS MATERIALIZED (
        SELECT r.* FROM ready AS r CROSS JOIN LATERAL (SELECT j.state FROM jobs AS j WHERE j.id = r.job_id OFFSET 0) AS j
        WHERE r.job_id = ANY (wanted) AND j.state = 'QUEUED'
    ), h AS MATERIALIZED (
        SELECT r.tenant, h ->> 0 AS kind, h ->> 1 AS name, (h ->> 2)::int AS most, r.job_id, r.queued_at,
            CASE h ->> 0 WHEN 'group' THEN r.pipeline_id ELSE r.job_id END AS holder
        FROM r CROSS JOIN json_array_elements(r.holds) AS h
    ), w AS (
        SELECT h.* FROM h
        UNION ALL
        SELECT r.tenant, 'running', q.pool, q.running, r.job_id, r.queued_at, r.job_id
        FROM r CROSS JOIN unnest(ARRAY[r.pool, '*']) AS p(pool) CROSS JOIN LATERAL (
            SELECT q.pool, q.running FROM quotas AS q WHERE q.tenant IN (r.tenant, '*') AND q.pool = p.pool
            ORDER BY q.tenant = '*' LIMIT 1) AS q
        WHERE q.running IS NOT NULL
        UNION ALL
        SELECT k.tenant, 'limit/' || k.kind, k.name, NULL, k.job_id, k.queued_at, k.job_id
        FROM (SELECT r.tenant, 'tenant' AS kind, r.tenant AS name, r.job_id, r.queued_at FROM r
            UNION ALL SELECT '*', 'pool', r.pool, r.job_id, r.queued_at FROM r
            UNION ALL SELECT h.tenant, 'lock', h.name, h.job_id, h.queued_at FROM h WHERE h.kind = 'lock') AS k
        CROSS JOIN LATERAL (SELECT FROM limits AS l
            WHERE l.tenant = k.tenant AND l.kind = k.kind AND l.name = k.name OFFSET 0) AS l
    )
    SELECT array_agg(ROW(w.tenant, w.kind, w.name, w.holder, w.most, w.job_id, NULL)::holds
        ORDER BY w.queued_at, w.job_id, w.kind, w.name) INTO asked FROM w;
    keys := ARRAY(SELECT DISTINCT a.tenant || '/' || a.kind || '/' || a.name FROM unnest(asked) AS a ORDER BY 1);
    named := ARRAY(SELECT width_bucket(a.tenant || '/' || a.kind || '/' || a.name, keys)
        FROM unnest(asked) WITH ORDINALITY AS a ORDER BY a.ordinality);
    PERFORM pg_advisory_xact_lock(k.hash)
    FROM (SELECT DISTINCT hashtextextended(k, 0) AS hash FROM unnest(keys) AS k ORDER BY 1) AS k;
    PERFORM FROM (SELECT DISTINCT a.tenant, split_part(a.kind, '/', 2) AS kind, a.name FROM unnest(asked) AS a
        WHERE a.kind LIKE 'limit/%' ORDER BY 1, 2, 3) AS k
    CROSS JOIN LATERAL (SELECT FROM limits AS l
        WHERE l.tenant = k.tenant AND l.kind = k.kind AND l.name = k.name FOR UPDATE) AS l;

    -- From here on statements see what those did who had the locks before.
    at := clock_v1();
    SELECT array_agg(h.taken ORDER BY a.key), array_agg(least(h.bears, l.bears) ORDER BY a.key) INTO taken, bears
    FROM (SELECT DISTINCT named[a.ordinality] AS key, a.tenant, a.kind, a.name
        FROM unnest(asked) WITH ORDINALITY AS a) AS a
    CROSS JOIN LATERAL (SELECT count(*)::int AS taken, min(h.most) AS bears FROM holds AS h
        WHERE h.tenant = a.tenant AND h.kind = a.kind AND h.name = a.name OFFSET 0) AS h
    LEFT JOIN LATERAL (
        SELECT CASE WHEN l.closed_until > at THEN 0 ELSE floor(limit_tokens_v1(l, at))::int END AS bears
        FROM limits AS l WHERE l.tenant = a.tenant AND l.kind = split_part(a.kind, '/', 2) AND l.name = a.name
        OFFSET 0) AS l ON true;
    entered := ARRAY(SELECT h.holder FROM unnest(asked) AS a CROSS JOIN LATERAL (SELECT h.holder FROM holds AS h
        WHERE h.tenant = a.tenant AND h.kind = 'group' AND h.name = a.name AND h.holder = a.holder OFFSET 0) AS h
        WHERE a.kind = 'group');
    behind := ARRAY(SELECT a.holder FROM unnest(asked) AS a CROSS JOIN LATERAL (
            SELECT g.since FROM concurrency_groups AS g WHERE g.pipeline_id = a.holder OFFSET 0) AS g
        WHERE a.kind = 'group' AND (EXISTS (SELECT FROM concurrency_groups AS o WHERE o.tenant = a.tenant
                AND o.name = a.name AND (o.since, o.pipeline_id) < (g.since, a.holder))
            OR EXISTS (SELECT FROM cancels AS c
                WHERE c.pipeline_id = a.holder AND c.cause = 'superseded' AND c.applied_at IS NULL)));

    FOR job IN SELECT a.job_id, array_agg(a.ordinality ORDER BY a.ordinality) AS wishes
        FROM unnest(asked) WITH ORDINALITY AS a GROUP BY a.job_id ORDER BY min(a.ordinality)
    LOOP
        wish := (SELECT w FROM unnest(job.wishes) AS w WHERE CASE
            WHEN (asked[w]).kind = 'group' AND (asked[w]).holder = ANY (entered) THEN false
            WHEN (asked[w]).kind = 'group' AND (asked[w]).holder = ANY (behind) THEN true
            ELSE taken[named[w]] >= least((asked[w]).most, bears[named[w]]) END LIMIT 1);
        IF wish IS NOT NULL THEN
            missed := missed || wish;
            CONTINUE;
        END IF;
        FOREACH wish IN ARRAY job.wishes LOOP
            CONTINUE WHEN (asked[wish]).kind = 'group' AND (asked[wish]).holder = ANY (entered);
            taken[named[wish]] := taken[named[wish]] + 1;
            bears[named[wish]] := least((asked[wish]).most, bears[named[wish]]);
            got := got || wish;
            IF (asked[wish]).kind = 'group' THEN
                entered := entered || (asked[wish]).holder;
            END IF;
        END LOOP;
    END LOOP;

    INSERT INTO holds (tenant, kind, name, holder, most, job_id, since)
    SELECT (asked[g]).tenant, (asked[g]).kind, (asked[g]).name, (asked[g]).holder,
        CASE WHEN (asked[g]).kind <> 'running' THEN (asked[g]).most END, (asked[g]).job_id, at
    FROM unnest(got) AS g WHERE (asked[g]).kind NOT LIKE 'limit/%'
    ON CONFLICT (tenant, kind, name, holder) DO NOTHING;
    UPDATE limits AS l SET tokens = limit_tokens_v1(l, at) - k.taken, filled_at = at
    FROM (SELECT (asked[g]).tenant, split_part((asked[g]).kind, '/', 2) AS kind, (asked[g]).name, count(*) AS taken
        FROM unnest(got) AS g WHERE (asked[g]).kind LIKE 'limit/%' GROUP BY 1, 2, 3) AS k
    WHERE l.tenant = k.tenant AND l.kind = k.kind AND l.name = k.name AND l.per_second IS NOT NULL;

    refused := ARRAY(SELECT (asked[m]).job_id FROM unnest(missed) AS m);
    holding := ARRAY(SELECT DISTINCT (asked[g]).job_id FROM unnest(got) AS g
        WHERE (asked[g]).kind IN ('lock', 'matrix', 'running'));
    locked := ARRAY(SELECT DISTINCT (asked[g]).job_id FROM unnest(got) AS g WHERE (asked[g]).kind = 'lock');
    waits := waits_v1(ARRAY(SELECT asked[m] FROM unnest(missed) AS m), at);
END
$$;
