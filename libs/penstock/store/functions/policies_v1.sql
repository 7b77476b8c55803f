-- All that dispatch goes by beside the queue: {quotas: [row], limits: [row], pools: [row], orders: [row]}, each sorted.
-- Of a limit, opens_in is how many seconds from now it lets the next one pass; 0: it is open.
CREATE OR REPLACE FUNCTION policies_v1() RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    at timestamptz := clock_v1();
BEGIN
    RETURN json_build_object(
        'quotas', (SELECT coalesce(json_agg(q ORDER BY q.tenant, q.pool), '[]') FROM quotas AS q),
        'limits', (SELECT coalesce(json_agg(l ORDER BY l.tenant, l.kind, l.name), '[]') FROM (
            SELECT l.*, greatest(0, extract(epoch FROM limit_opens_v1(l, at) - at)) AS opens_in FROM limits AS l) AS l),
        'pools', (SELECT coalesce(json_agg(p ORDER BY p.pool), '[]') FROM pools AS p),
        'orders', (SELECT coalesce(json_agg(o ORDER BY o.name), '[]') FROM runner_orders AS o));
END
$$;
