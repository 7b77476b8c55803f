"""P1: 256 tasks in a burst, each with 2 of 128 locks for 0.5 s, at 1 to 32 workers.

A worker is a stub runner of one slot: that is what the workers of the peers are, and it spares the dispatcher
nothing, for each of them is a session with its own heartbeats, offers and grants. A task is a pipeline of one
job. The draw is the same for every number of workers.
"""

from __future__ import annotations

import time
from typing import Any

from bench.door import ShortCutError, percentile
from bench.draws import Task, lock_tasks
from bench.field import Field
from bench.meter import Meter
from bench.schedule import ideal_seconds
from bench.stages import stages_ms
from bench.stubs import Stubs, lasting, warm

WORKERS, FEW_WORKERS = (1, 2, 4, 8, 16, 32), (4, 8)
TASKS, FEW_TASKS = 256, 32
RESOURCES, LOCKS, SEED = 128, 2, 1
WORK_SECONDS = 0.5
PATIENCE_SECONDS = 240.0
WAITED = """
SELECT extract(epoch FROM a.started_at - a.unblocked_at)::float8 * 1000 FROM attempts AS a
JOIN jobs AS j ON j.id = a.job_id WHERE j.pipeline_id = ANY(%s::uuid[]) AND a.unblocked_at IS NOT NULL"""


def p1(field: Field, *, small: bool) -> dict[str, Any]:
    """wall_s by number of workers, from the first task sent to the last SUCCESS; producer_ms_per_task.

    wait_ms: from available, when nothing but the queue stood before it, to picked up; with few workers it is
    the queue. ideal_s is what list scheduling by itself needs for this draw; ideal_in_turn_s the same when
    none overtakes another at a lock. All other figures are those of the largest number of workers.
    """
    tasks = lock_tasks(FEW_TASKS if small else TASKS, RESOURCES, LOCKS, SEED)
    figures: dict[str, dict[str, Any]] = {
        "wall_s": {}, "ideal_s": {}, "ideal_in_turn_s": {}, "producer_ms_per_task": {}, "wait_ms": {},
        "stages_ms": {},
    }  # fmt: skip
    last: dict[str, object] = {}
    warm(field)
    for workers in FEW_WORKERS if small else WORKERS:
        with Stubs(field, workers, 1) as fleet:
            fleet.settle()
            one, last = _burst(field, tasks)
        one["ideal_s"] = ideal_seconds(tasks, workers, WORK_SECONDS)
        one["ideal_in_turn_s"] = ideal_seconds(tasks, workers, WORK_SECONDS, in_turn=True)
        for name, value in one.items():
            figures[name][str(workers)] = value
    return {**figures, **last}


def _burst(field: Field, tasks: list[Task]) -> tuple[dict[str, Any], dict[str, object]]:
    """Figures of one number of workers, and the meter's."""
    definitions = [
        {
            "name": "task",
            "jobs": {"task": lasting(WORK_SECONDS, locks=[{"name": name} for name in task.locks])},
        }
        for task in tasks
    ]
    with Meter(field.subject) as meter:
        began = time.monotonic()
        ids = field.door.submit(definitions)
        producer = (time.monotonic() - began) * 1000 / len(tasks)
        field.door.wait(ids, PATIENCE_SECONDS)
    wall = field.door.finished_at(ids) - field.door.sent[ids[0]]
    field.door.verify(ids, len(ids))
    waits = [waited for (waited,) in field.db.rows(WAITED, (ids,))]
    if len(waits) != len(tasks):
        raise ShortCutError(
            f"of {len(tasks)} attempts {len(waits)} tell since when nothing stood before them"
        )
    return {
        "wall_s": round(wall, 2),
        "producer_ms_per_task": round(producer, 3),
        "wait_ms": {"p50": round(percentile(waits, 0.5), 2), "p99": round(percentile(waits, 0.99), 2)},
        "stages_ms": stages_ms(field.door, ids),
    }, meter.figures(len(tasks))
