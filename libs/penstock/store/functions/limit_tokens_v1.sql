-- Claims that a limit has left at a moment; null: any number.
CREATE OR REPLACE FUNCTION limit_tokens_v1(l limits, at timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    -- Not least() alone: that leaves nulls out.
    SELECT CASE WHEN l.per_second IS NOT NULL THEN least(l.burst,
        l.tokens + l.per_second * greatest(0, extract(epoch FROM at - l.filled_at)::float8)) END
$$;
