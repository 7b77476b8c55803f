"""history: whether a claim takes longer when there are ten times as many finished pipelines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.door import noop, percentile
from bench.field import Field
from bench.load import open_loop, steady
from bench.meter import Meter
from bench.stages import stages_ms

PIPELINES, FEW_PIPELINES = 2_000, 20
TIMES = 10
JOBS_EACH = 10
AT_ONCE = 200
RATE, SECONDS, FEW_SECONDS = 20, 60, 5
TEN = noop({f"job-{n}": [] for n in range(JOBS_EACH)})
SINGLE = noop({"job": []})
CLAIM = re.compile(r"duration: ([\d.]+) ms +execute [^:]*: SELECT claim_v1\(")


def history(field: Field, *, small: bool) -> dict[str, Any]:
    """claim_p99_ms and claim_p50_ms with 1 and 10 times the history, as Postgres itself logs the statement.

    A claim here is of one job: 20 a second come alone. p99_ms is their submit-to-start. `ratio` is that of
    claim_p99_ms. The history is made by running it: pipelines of ten no-op jobs.
    """
    unit = FEW_PIPELINES if small else PIPELINES
    figures: dict[str, dict[str, Any]] = {}
    made = 0
    last: dict[str, object] = {}
    for times in (1, TIMES):
        while made < unit * times:
            some = min(AT_ONCE, unit * times - made)
            field.door.wait(field.door.submit([TEN] * some))
            made += some
        one, meter = _measured(field, FEW_SECONDS if small else SECONDS)
        last = meter.figures(int(one.pop("n")))
        for name, value in one.items():
            figures.setdefault(name, {})[str(times)] = value
    claims = figures["claim_p99_ms"]
    return {
        "ratio": round(claims[str(TIMES)] / claims["1"], 2),
        **figures,
        "pipelines": {"1": unit, str(TIMES): made},
        **last,
    }


def _measured(field: Field, seconds: float) -> tuple[dict[str, Any], Meter]:
    log = Path(next(one.log for one in field.arena.stack.components if one.name == "postgres"))
    begin = log.stat().st_size
    _log_statements(field, every=True)
    with Meter(field.subject) as meter:
        ids = open_loop(field.door, steady(RATE, seconds, SINGLE))
        field.door.wait(ids)
    _log_statements(field, every=False)
    field.door.verify(ids, len(ids))
    waits = field.door.waits(ids)
    with log.open(errors="replace") as lines:
        lines.seek(begin)
        claims = claim_durations(lines.read())
    return {
        "claim_p50_ms": round(percentile(claims, 0.5), 3),
        "claim_p99_ms": round(percentile(claims, 0.99), 3),
        "claims": len(claims),
        "p50_ms": round(percentile(waits, 0.5), 2),
        "p99_ms": round(percentile(waits, 0.99), 2),
        "stages_ms": stages_ms(field.door, ids),
        "n": len(ids),
    }, meter


def claim_durations(text: str) -> list[float]:
    """Milliseconds of each claim in the log of Postgres, its execution alone."""
    return [float(found) for found in CLAIM.findall(text)]


def _log_statements(field: Field, *, every: bool) -> None:
    """Have Postgres log each statement with its duration, without parameters; or end that."""
    field.db.rows("ALTER SYSTEM SET log_parameter_max_length = 0")
    if every:
        field.db.rows("ALTER SYSTEM SET log_min_duration_statement = 0")
    else:
        field.db.rows("ALTER SYSTEM RESET log_min_duration_statement")
    field.db.rows("SELECT pg_reload_conf()")
