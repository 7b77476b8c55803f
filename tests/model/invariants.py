"""I3-I8, I10, I12 and I21 of the protocol as predicates: on rows, on one transaction, on a world at rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.model.state import Runner, State

from penstock.core.states import HELD, JOB_TERMINAL, JOB_TRANSITIONS, PIPELINE_TERMINAL, PIPELINE_TRANSITIONS
from penstock.testing.model.draft import verdict
from penstock.testing.model.rows import PIPELINE, Graph, Outcome, Rows

Found = list[str]
Act = Callable[[Graph, Rows, Any], Outcome]


def of_rows(graph: Graph, rows: Rows) -> Found:
    """What must hold of the tables after every commit."""
    found: Found = []
    for number, job in enumerate(rows.jobs):
        lease = rows.leases[number]
        held = job.state in HELD
        if held != (lease is not None) or held != (job.token != 0):
            found.append(f"I4: {job.state} job {number} has token {job.token} and lease {lease}")
        if lease is not None and (lease.token != job.token or lease.attempt != job.attempt):
            found.append(f"I4: job {number} and its lease name different attempts: {job} {lease}")
        if rows.timers[number] is not None and job.state != "RETRYING":
            found.append(f"I8: {job.state} job {number} has a retry timer")
        limit = rows.limits[number]
        if limit is not None and (
            limit.token != job.token or (limit.kind == "run") != (job.state == "RUNNING")
        ):
            found.append(f"I8: {job.state} job {number} has a timer that is not its own: {limit}")
        found += _needs(graph, rows, number)
    found += _holds(graph, rows)
    open_jobs = sum(job.state not in JOB_TERMINAL for job in rows.jobs)
    if (rows.remaining or 0) != open_jobs:
        found.append(f"I3: remaining is {rows.remaining}, {open_jobs} jobs are open")
    if (rows.pipeline.state in PIPELINE_TERMINAL) != (open_jobs == 0):
        found.append(f"I3: the pipeline is {rows.pipeline.state} with {open_jobs} open jobs")
    return found


def _holds(graph: Graph, rows: Rows) -> Found:
    found: Found = []
    for one in rows.holds:
        holders = [other for other in rows.holds if other[:2] == one[:2]]
        if one.most is not None and len(holders) > one.most:
            found.append(f"I21: {one.kind} {one.name} is held by {len(holders)}, {one.most} may")
        lives = rows.remaining is not None if one.holder == PIPELINE else rows.leases[one.holder] is not None
        if not lives:
            found.append(f"I21: {one.kind} {one.name} is held by {one.holder}, which has ended")
    for number, lease in enumerate(rows.leases):
        mine = {one[:2] for one in rows.holds if one.holder in (number, PIPELINE)}
        if lease is not None and not {wish[:2] for wish in graph[number].holds} <= mine:
            found.append(f"I21: job {number} may run and holds only {mine}")
    return found


def _needs(graph: Graph, rows: Rows, number: int) -> Found:
    job, needs = rows.jobs[number], [(rows.jobs[n], graph[n]) for n in graph[number].needs]
    ended = [(need, work) for need, work in needs if need.state in JOB_TERMINAL]
    well = [
        n for n, work in ended if n.state == "SUCCESS" or (n.state == "FAILED" and work.continue_on_error)
    ]
    found: Found = []
    if job.unmet != len(needs) - len(ended) or job.bad_needs != len(ended) - len(well):
        found.append(f"I7: job {number} counts its needs wrongly: unmet {job.unmet}, bad {job.bad_needs}")
    if job.state not in ("PENDING", "CANCELLED", "SKIPPED"):
        if len(ended) < len(needs):
            found.append(f"I7: job {number} is {job.state} before its needs have ended")
        elif not graph[number].conditional and len(well) < len(needs):
            found.append(f"I7: job {number} is {job.state} though a need did not end well")
        elif graph[number].condition == "failure" and not _failed(ended):
            found.append(f"I7: job {number} is {job.state} though no need failed")
    if job.tries > 1 + graph[number].retry_max:
        found.append(f"I6: job {number} was tried {job.tries} times")
    return found


def _failed(ended: list[tuple[Any, Any]]) -> bool:
    return any(
        (need.state == "FAILED" and not work.continue_on_error) or need.reason == "dependency-failed"
        for need, work in ended
    )


def of_transaction(
    graph: Graph, name: str, arguments: Any, before: Rows, outcome: Outcome, act: Act
) -> Found:
    """What must hold of one transaction, and of the same transaction right after it once more (I10)."""
    after, events = outcome.rows, outcome.events
    found = _machine(before, outcome)
    if (events.jobs or events.pipelines) and events not in after.outbox:
        found.append("I9: the transition is not in the outbox: a crash before publishing loses its records")
    if name == "claim":
        found += _claims(before, outcome)
    if name in ("start", "finish", "release", "expire"):
        found += _fences(name, arguments, before, outcome)
    again = act(graph, after, arguments)
    if again.rows != after or again.events.jobs or again.events.pipelines:
        found.append("I10: the same once more changes something again")
    return found


def _machine(before: Rows, outcome: Outcome) -> Found:
    found: Found = []
    for number, (old, new) in enumerate(zip(before.jobs, outcome.rows.jobs, strict=True)):
        state, version = old.state, old.version
        for line in outcome.events.jobs:
            if line.job == number:
                if line.version != version + 1:
                    found.append(f"I3: job {number} goes from version {version} to {line.version}")
                if line.state not in JOB_TRANSITIONS[state] or line.previous != state:
                    found.append(f"I3: job {number} goes from {state} (told {line.previous}) to {line.state}")
                state, version = line.state, line.version
        if (state, version) != (new.state, new.version):
            found.append(
                f"I3: job {number} is {new.state} {new.version}, its records end at {state} {version}"
            )
    pipeline, version = before.pipeline.state, before.pipeline.version
    for record in outcome.events.pipelines:
        if record.version != version + 1 or record.state not in PIPELINE_TRANSITIONS[pipeline]:
            found.append(
                f"I3: the pipeline goes from {pipeline} {version} to {record.state} {record.version}"
            )
        pipeline, version = record.state, record.version
    if (pipeline, version) != (outcome.rows.pipeline.state, outcome.rows.pipeline.version):
        found.append("I3: the pipeline changed without a record")
    return found


def _claims(before: Rows, outcome: Outcome) -> Found:
    found: Found = []
    for _, number, attempt, token in outcome.events.grants:
        old = before.jobs[number]
        if attempt != old.attempt + 1 or token <= old.attempt:
            found.append(f"I4: job {number} is granted as {attempt} with token {token} after {old.attempt}")
        if before.pipeline.state in ("CANCELLING", *PIPELINE_TERMINAL) or old.state == "CANCELLED":
            found.append(f"I12: job {number} is claimed after its cancel")
    return found


def _fences(name: str, arguments: Any, before: Rows, outcome: Outcome) -> Found:
    found: Found = []
    for item in arguments:
        old, new, lease = before.jobs[item.job], outcome.rows.jobs[item.job], before.leases[item.job]
        if new == old:
            continue
        if item.token != old.attempt or lease is None:
            found.append(
                f"I5: {name} of attempt {item.token} changes job {item.job}, which is at {old.attempt}"
            )
        elif name == "expire" and not lease.over:
            found.append(f"I13: the lease of job {item.job} was taken back and is not over")
        if new.state == "SUCCESS" and not (name == "finish" and item.success and item.ran):
            found.append(f"I6: job {item.job} is SUCCESS without an exit 0")
    return found


def at_rest(graph: Graph, rows: Rows, state: State, runners: list[Runner]) -> Found:
    """Nothing is left to happen: then all is done, and nothing is left behind (I8)."""
    found = [
        f"I8: job {n} is {job.state}" for n, job in enumerate(rows.jobs) if job.state not in JOB_TERMINAL
    ]
    if not found and rows.pipeline.state != "CANCELLED":
        ends = verdict(graph, "RUNNING", rows.jobs)
        if rows.pipeline.state != ends:
            found.append(f"I3: the pipeline is {rows.pipeline.state}, its jobs say {ends}")
    left = {
        "a record": state.net,
        "a replica's work": state.minds,
        "an event in the outbox": rows.outbox,
        "a row in the queue": any(rows.ready),
        "a hold": rows.holds,
        "an attempt at a runner": [seat for runner in runners for seat in runner.seats],
        "an unsettled report": [entry for runner in runners for entry in runner.journal],
    }
    found += [f"I8: {what} is left over" for what, there in left.items() if there]
    if state.unheard:
        found.append("I12: a cancel was asked for and never applied")
    return found
