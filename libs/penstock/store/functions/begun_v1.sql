-- Pipelines of these just started jobs that are PENDING still: this is their first start.
CREATE OR REPLACE FUNCTION begun_v1(started jobs[]) RETURNS uuid[]
LANGUAGE sql AS $$
    SELECT ARRAY(SELECT p.id FROM pipelines AS p
        WHERE p.id = ANY (ARRAY(SELECT DISTINCT s.pipeline_id FROM unnest(started) AS s)) AND p.state = 'PENDING')
$$;
