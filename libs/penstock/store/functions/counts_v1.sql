-- Jobs of a pipeline by state: {"SUCCESS": 3, ...}. Asked at pipeline transitions only (protocol §5).
CREATE OR REPLACE FUNCTION counts_v1(of_pipeline uuid) RETURNS json
LANGUAGE sql AS $$
    SELECT coalesce(json_object_agg(state, n ORDER BY state), '{}')
    FROM (SELECT state, count(*) AS n FROM jobs WHERE pipeline_id = of_pipeline GROUP BY state) AS s
$$;
