"""Where the time of jobs went: medians of what lies between their transitions."""

from __future__ import annotations

from bench.door import Door, percentile

_BETWEEN = """
WITH t AS (
    SELECT state, extract(epoch FROM at)::float8 AS at, lag(state) OVER w AS before,
        extract(epoch FROM lag(at) OVER w)::float8 AS since
    FROM job_transitions WHERE pipeline_id = ANY(%s::uuid[])
    WINDOW w AS (PARTITION BY job_id ORDER BY version))
SELECT before || '->' || state, percentile_disc(0.5) WITHIN GROUP (ORDER BY at - since) FROM t
WHERE (before, state) IN (('QUEUED', 'ASSIGNED'), ('ASSIGNED', 'RUNNING'), ('RUNNING', 'SUCCESS'))
GROUP BY 1"""
_FIRST = """
SELECT pipeline_id::text, extract(epoch FROM min(at))::float8 FROM job_transitions
WHERE pipeline_id = ANY(%s::uuid[]) AND state = 'QUEUED' GROUP BY 1"""
_NEXT = """
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY waited) FROM (
    SELECT extract(epoch FROM q.at - max(p.at))::float8 AS waited FROM job_transitions AS q
    JOIN edges AS e ON e.child_id = q.job_id
    JOIN job_transitions AS p ON p.job_id = e.parent_id AND p.terminal
    WHERE q.pipeline_id = ANY(%s::uuid[]) AND q.state = 'QUEUED' AND q.previous = 'PENDING'
    GROUP BY q.job_id, q.at) AS w"""
NAMES = {
    "QUEUED->ASSIGNED": "queued->assigned",
    "ASSIGNED->RUNNING": "assigned->running",
    "RUNNING->SUCCESS": "running->ended",
}


def stages_ms(door: Door, ids: list[str]) -> dict[str, float]:
    """Median milliseconds of each stage, over the jobs of these pipelines; read after they are measured.

    `submitted->queued` is from the client's clock at the produce to the first job in the queue;
    `ended->next queued` from the last end that a job waited for.
    """
    db = door.subject.db
    begun = [(at - door.sent[pipeline]) * 1000 for pipeline, at in db.rows(_FIRST, (ids,))]
    stages = {"submitted->queued": percentile(begun, 0.5)}
    between = dict(db.rows(_BETWEEN, (ids,)))
    stages |= {told: between[name] * 1000 for name, told in NAMES.items() if name in between}
    waited = db.one(_NEXT, (ids,))
    if waited is not None:
        stages["ended->next queued"] = waited * 1000
    return {name: round(value, 2) for name, value in stages.items()}
