"""The store's transitions, one function for each `*_v1` that moves jobs, on the rows of the twin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from penstock.core.states import JobState
from penstock.testing.model.draft import Draft
from penstock.testing.model.rows import Graph, Job, JobRecord, Lease, Limit, Outcome, Rows, Session, Work

MAX_INFRA: Final = 3
MAX_CLAIMS: Final = 20
LOST: Final = ("infra-error", "worker-lost")
REPEATED: Final = ("exit-code", "signal", "run-timeout")
CANCELLABLE: Final = ("PENDING", "WAITING", "QUEUED", "RETRYING", "ASSIGNED", "RUNNING")


class Claim(NamedTuple):
    """A job for a session."""

    job: int
    session: Session


class Token(NamedTuple):
    """An attempt, by its token."""

    job: int
    token: int


class End(NamedTuple):
    """A report of an end; `ran`: a process was started; `due`: a retry need not wait."""

    job: int
    token: int
    success: bool = True
    ran: bool = True
    reason: str | None = None
    due: bool = True


class Hold(NamedTuple):
    """An attempt that a heartbeat lists."""

    job: int
    attempt: int
    token: int
    ended: bool = False


class Decision(NamedTuple):
    """What a PENDING job becomes."""

    job: int
    becomes: JobState
    reason: str | None


class Need(NamedTuple):
    """How the needs of an undecided job ended (`undecided_v1`)."""

    job: int
    condition: str
    cancelling: bool
    failed: int
    cancelled: int
    skipped: int


class Verdict(NamedTuple):
    """What became of one attempt that a heartbeat lists: ok, cancel or void."""

    job: int
    attempt: int
    verdict: str
    started: bool
    ending: str | None = None


class Stop(NamedTuple):
    """An order to stop an attempt whose timer was due."""

    job: int
    session: Session
    attempt: int
    reason: str


def claim(graph: Graph, rows: Rows, claims: Sequence[Claim]) -> Outcome:
    """QUEUED -> ASSIGNED with a token, a lease and all that the job holds; else it stays in the queue."""
    draft = Draft(graph, rows)
    won: list[int] = []
    for number, session in claims:
        job = draft.jobs[number]
        if draft.ready[number] and job.state == "QUEUED":
            if not draft.admit(number):
                continue
            attempt = job.attempt + 1
            draft.move(number, "ASSIGNED", None, attempt=attempt, token=attempt)
            draft.leases[number] = Lease(attempt, attempt, session)
            draft.grants.append((session, number, attempt, attempt))
            won.append(number)
        draft.ready[number] = False
    return draft.commit(won)


def refuse(graph: Graph, rows: Rows, numbers: Sequence[int]) -> Outcome:
    """QUEUED -> FAILED: of jobs that cannot be claimed."""
    draft = Draft(graph, rows)
    ended: list[int] = []
    for number in numbers:
        draft.ready[number] = False
        if draft.jobs[number].state == "QUEUED":
            draft.move(number, "FAILED", "infra-error")
            ended.append(number)
    if ended:
        draft.settle(ended)
    return draft.commit(ended)


def start(graph: Graph, rows: Rows, starts: Sequence[Token]) -> Outcome:
    """ASSIGNED -> RUNNING; names those whose token is the living one."""
    draft = Draft(graph, rows)
    current = [one for one in starts if one.token and draft.jobs[one.job].token == one.token]
    for number, _ in current:
        job, lease = draft.jobs[number], draft.leases[number]
        if job.state == "ASSIGNED":
            draft.move(number, "RUNNING", job.reason, tries=job.tries + 1, unstarted=0)
            draft.leases[number] = lease and lease._replace(started=True, over=False)
            draft.limits[number] = Limit("run", job.token)
            draft.begin()
    return draft.commit(one.job for one in current)


def finish(graph: Graph, rows: Rows, ends: Sequence[End]) -> Outcome:
    """Ends attempts whose token is current, and settles what follows."""
    draft = Draft(graph, rows)
    accepted = [one for one in ends if _holds(rows, one.job, one.token)]
    ended: list[int] = []
    for report in accepted:
        end, job = report, draft.jobs[report.job]
        lease = draft.leases[end.job]
        if lease is not None and lease.ending is not None:
            end = end._replace(success=False, reason=lease.ending)
        becomes, reason = _end_of(graph, job, end)
        fold = job.state == "ASSIGNED" and end.ran
        infra = end.reason in LOST
        tries = job.tries + fold - (infra and (fold or (lease is not None and lease.started)))
        if fold:
            told = tries + (reason in LOST)
            draft.tell(JobRecord(end.job, job.version + 1, "ASSIGNED", "RUNNING", None, job.attempt, told))
        draft.move(
            end.job,
            becomes,
            reason,
            previous="RUNNING" if fold else job.state,
            version=job.version + 1 + fold,
            tries=tries,
            infra_tries=job.infra_tries + infra,
        )
        if fold:
            draft.begin()
        if becomes == "RETRYING":
            draft.timers[end.job] = end.due
        else:
            ended.append(end.job)
    if ended:
        draft.settle(ended)
    return draft.commit(one.job for one in accepted)


def release(graph: Graph, rows: Rows, items: Sequence[Token], *, expired: bool) -> Outcome:
    """Takes attempts back that ended without a report: given back, or (expired) whose lease is over."""
    draft = Draft(graph, rows)
    accepted: list[int] = []
    ended: list[int] = []
    for number, token in items:
        job, lease = rows.jobs[number], rows.leases[number]
        if lease is None or not _holds(rows, number, token) or lease.token != token:
            continue
        if not (lease.over if expired else job.state != "RUNNING"):
            continue
        becomes, reason = _back(graph[number], job, lease, expired=expired)
        gone = job.state == "RUNNING" and lease.ending is None
        draft.move(
            number,
            becomes,
            reason,
            tries=job.tries - gone,
            infra_tries=job.infra_tries + gone,
            unstarted=job.unstarted + (job.state == "ASSIGNED" and expired),
        )
        accepted.append(number)
        if becomes == "QUEUED":
            draft.enqueue(number)
        elif becomes == "RETRYING":
            draft.timers[number] = True
        else:
            ended.append(number)
    if ended:
        draft.settle(ended)
    return draft.commit(accepted)


def renew(rows: Rows, holds: Iterable[Hold]) -> tuple[Rows, tuple[Verdict, ...]]:
    """Leases that a heartbeat lists are renewed: those started, cancelling, or whose attempt has ended."""
    leases = list(rows.leases)
    verdicts: list[Verdict] = []
    for number, attempt, token, ended in holds:
        lease = leases[number]
        if lease is None or lease.token != token:
            verdicts.append(Verdict(number, attempt, "void", started=False))
            continue
        if lease.ending is None and (lease.started or lease.cancelling or ended):
            lease = leases[number] = lease._replace(over=False)
        word = "cancel" if lease.cancelling else "ok"
        verdicts.append(Verdict(number, attempt, word, lease.started, lease.ending))
    return rows._replace(leases=tuple(leases)), tuple(sorted(verdicts))


def stop_due(rows: Rows) -> tuple[Rows, tuple[Stop, ...]]:
    """Attempts whose run or grace timer is due are renewed no more; what to order stopped."""
    leases, limits = list(rows.leases), list(rows.limits)
    stops: list[Stop] = []
    for number, (lease, limit) in enumerate(zip(rows.leases, rows.limits, strict=True)):
        if lease is None or limit is None or not limit.due or limit.token != lease.token:
            continue
        limits[number] = None
        if limit.kind == "run":
            leases[number] = lease._replace(ending="run-timeout", over=False)
        else:
            leases[number] = lease._replace(ending="cancelled")
        reason = "run-timeout" if limit.kind == "run" else "cancelled"
        stops.append(Stop(number, lease.session, lease.attempt, reason))
    return rows._replace(leases=tuple(leases), limits=tuple(limits)), tuple(stops)


def cancel(graph: Graph, rows: Rows, only: int | None) -> Outcome:
    """Cancels the pipeline, or one job of it."""
    draft = Draft(graph, rows)
    named = range(len(graph)) if only is None else (only,)
    changed = [number for number in named if draft.jobs[number].state in CANCELLABLE]
    ended: list[int] = []
    for number in changed:
        draft.ready[number] = False
        lease = draft.leases[number]
        if draft.jobs[number].token:
            job = draft.move(number, "CANCELLING", "cancelled")
            draft.limits[number] = Limit("grace", job.token)
        else:
            draft.move(number, "CANCELLED", "cancelled")
            draft.timers[number] = None
            ended.append(number)
        if lease is not None:
            draft.leases[number] = lease._replace(cancelling=True)
            draft.stops.append((lease.session, number, lease.attempt))
    if only is None and draft.pipeline.state in ("PENDING", "RUNNING"):
        draft.move_pipeline("CANCELLING", "cancelled")
    if ended:
        draft.settle(ended)
    return draft.commit(changed)


def retry_due(graph: Graph, rows: Rows) -> Outcome:
    """RETRYING -> QUEUED where the timer is due."""
    draft = Draft(graph, rows)
    queued: list[int] = []
    for number, due in enumerate(rows.timers):
        if due:
            draft.timers[number] = None
            if draft.jobs[number].state == "RETRYING":
                draft.move(number, "QUEUED", None)
                draft.enqueue(number)
                queued.append(number)
    return draft.commit(queued)


def undecided(graph: Graph, rows: Rows, numbers: Iterable[int]) -> tuple[Need, ...]:
    """Facts for the pure decide about those that are PENDING with all needs resolved."""
    facts: list[Need] = []
    for number in sorted(set(numbers)):
        job = rows.jobs[number]
        if job.state != "PENDING" or job.unmet:
            continue
        failed = cancelled = skipped = 0
        for need in graph[number].needs:
            ended = rows.jobs[need]
            failed += (ended.state == "FAILED" and not graph[need].continue_on_error) or (
                ended.state == "SKIPPED" and ended.reason == "dependency-failed"
            )
            cancelled += ended.state == "CANCELLED"
            skipped += ended.state == "SKIPPED" and ended.reason != "dependency-failed"
        cancelling = rows.pipeline.state == "CANCELLING"
        facts.append(Need(number, graph[number].condition, cancelling, failed, cancelled, skipped))
    return tuple(facts)


def resolve(graph: Graph, rows: Rows, decisions: Sequence[Decision]) -> Outcome:
    """Carries out what the pure decide said."""
    draft = Draft(graph, rows)
    changed: list[int] = []
    skipped: list[int] = []
    for number, becomes, reason in decisions:
        if rows.jobs[number].state == "PENDING" and not rows.jobs[number].unmet:
            draft.move(number, becomes, reason)
            changed.append(number)
            if becomes == "QUEUED":
                draft.enqueue(number)
            else:
                skipped.append(number)
    if skipped:
        draft.settle(skipped)
    return draft.commit(changed)


def lost(graph: Graph, rows: Rows, *, aged: bool = True) -> Outcome:
    """The sweep: ready rows and timers that are missing, and who waits for a decision.

    `aged`: jobs have been in their state for longer than the sweep's period.
    """
    draft = Draft(graph, rows)
    if rows.remaining is not None:
        for number, job in enumerate(rows.jobs):
            if job.state == "QUEUED" and aged:
                draft.enqueue(number)
            if job.state == "RETRYING" and aged and rows.timers[number] is None:
                draft.timers[number] = True
            if job.state == "PENDING" and not job.unmet:
                draft.ask([number])
    return draft.commit((), outbox=False)


def _holds(rows: Rows, number: int, token: int) -> bool:
    """Whether the token is that of the living attempt."""
    return token != 0 and rows.jobs[number].token == token and rows.leases[number] is not None


def _end_of(graph: Graph, job: Job, end: End) -> tuple[JobState, str | None]:
    assigned = job.state == "ASSIGNED"
    if job.state == "CANCELLING":
        return "CANCELLED", "cancelled"
    if end.success and (end.ran or not assigned):
        return "SUCCESS", None
    if end.reason in LOST and job.infra_tries < MAX_INFRA:
        return "RETRYING", end.reason
    charged = job.tries + (assigned and end.ran)
    if end.reason in REPEATED and charged <= graph[end.job].retry_max:
        return "RETRYING", end.reason
    return "FAILED", end.reason


def _back(work: Work, job: Job, lease: Lease, *, expired: bool) -> tuple[JobState, str | None]:
    if job.state == "CANCELLING":
        return "CANCELLED", "cancelled"
    if job.state == "RUNNING":
        if lease.ending is not None:
            return ("RETRYING" if job.tries <= work.retry_max else "FAILED"), lease.ending
        return ("QUEUED" if job.infra_tries < MAX_INFRA else "FAILED"), "worker-lost"
    if expired and job.unstarted + 1 >= MAX_CLAIMS:
        return "FAILED", "start-refused"
    return "QUEUED", "start-timeout" if expired else None
