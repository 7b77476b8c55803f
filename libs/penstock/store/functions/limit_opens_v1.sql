-- When a limit lets the next one pass; in the past: it does.
CREATE OR REPLACE FUNCTION limit_opens_v1(l limits, at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(at, l.closed_until, at + make_interval(
        secs => greatest(0, 1 - limit_tokens_v1(l, at)) / l.per_second))
$$;
