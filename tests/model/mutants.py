"""Planted faults, each a defect that somebody might build in: the search must find every one of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.invariants import Act
from tests.model.operations import ACTS
from tests.model.rules import Rules
from tests.model.state import PIPELINE, Budget, Shape

from penstock.testing.model import transitions as twin
from penstock.testing.model.rows import Events, Graph, Lease, Outcome, Rows, Wish, Work, acked
from penstock.testing.model.transitions import Claim, End, Token

ONE = (Work(),)
RETRIED = (Work(retry_max=1),)
FAN_IN = (Work(), Work(), Work((0, 1)))
CLEANUP = (Work(), Work((0,), "failure"))
LOCKED = (Work(holds=(Wish("lock", "a", 1),)),) * 2


class Mutant(NamedTuple):
    """Rules that are wrong, and a world that is large enough to show it."""

    rules: Rules
    graph: tuple[Work, ...]
    budget: Budget

    def shape(self, name: str) -> Shape:
        """Its world; whatever is cancelled there is the pipeline or its first job."""
        return Shape(name, self.graph, self.budget, targets=(PIPELINE, 0))


def _with(**acts: Act) -> Rules:
    return Rules(acts={**ACTS, **acts})


def _unfenced(name: str) -> Act:
    """Whatever token comes is taken for the living one."""

    def act(graph: Graph, rows: Rows, items: Any) -> Outcome:
        return ACTS[name](
            graph, rows, tuple(item._replace(token=rows.jobs[item.job].token) for item in items)
        )

    return act


def _quiet(act: Act) -> Act:
    """Without an outbox row."""

    def quiet(graph: Graph, rows: Rows, what: Any) -> Outcome:
        outcome = act(graph, rows, what)
        return outcome._replace(rows=outcome.rows._replace(outbox=rows.outbox))

    return quiet


def _claims_anything(graph: Graph, rows: Rows, claims: tuple[Claim, ...]) -> Outcome:
    number = claims[0].job
    queued = rows.jobs[number]._replace(state="QUEUED")
    waits = tuple(waits or at == number for at, waits in enumerate(rows.ready))
    return twin.claim(graph, _with_job(rows, number, queued)._replace(ready=waits), claims)


def _same_token(graph: Graph, rows: Rows, claims: tuple[Claim, ...]) -> Outcome:
    outcome = twin.claim(graph, rows, claims)
    if not outcome.named:
        return outcome
    number = outcome.named[0]
    lease = outcome.rows.leases[number]
    assert lease is not None
    events = outcome.events._replace(grants=tuple((*grant[:3], 1) for grant in outcome.events.grants))
    changed = _with_job(outcome.rows, number, outcome.rows.jobs[number]._replace(token=1))
    return _told_instead(outcome, _with_lease(changed, number, lease._replace(token=1)), events)


def _cancel_leaves_token(graph: Graph, rows: Rows, only: tuple[int | None]) -> Outcome:
    """ASSIGNED becomes CANCELLED at once, and its attempt lives on."""
    outcome = twin.cancel(graph, rows, only[0])
    for number, job in enumerate(rows.jobs):
        if job.state == "ASSIGNED":
            after = outcome.rows.jobs[number]._replace(state="CANCELLED")
            events = outcome.events._replace(
                jobs=tuple(
                    line._replace(state="CANCELLED") if line.job == number else line
                    for line in outcome.events.jobs
                )
            )
            outcome = _told_instead(outcome, _with_job(outcome.rows, number, after), events)
    return outcome


def _cancel_voids_token(graph: Graph, rows: Rows, only: tuple[int | None]) -> Outcome:
    """CANCELLING without a token: no report of its end is accepted any more."""
    outcome = twin.cancel(graph, rows, only[0])
    for number, job in enumerate(outcome.rows.jobs):
        if job.state == "CANCELLING":
            after = _with_lease(_with_job(outcome.rows, number, job._replace(token=0)), number, None)
            outcome = outcome._replace(rows=after)
    return outcome


def _cancel_keeps_timer(graph: Graph, rows: Rows, only: tuple[int | None]) -> Outcome:
    outcome = twin.cancel(graph, rows, only[0])
    return outcome._replace(rows=outcome.rows._replace(timers=rows.timers))


def _cancel_forgets_children(graph: Graph, rows: Rows, only: tuple[int | None]) -> Outcome:
    """What it ends does not settle."""
    outcome = twin.cancel(graph, rows, only[0])
    jobs = tuple(
        after._replace(unmet=before.unmet, bad_needs=before.bad_needs)
        for before, after in zip(rows.jobs, outcome.rows.jobs, strict=True)
    )
    return outcome._replace(rows=outcome.rows._replace(jobs=jobs))


def _takes_renewed_leases(graph: Graph, rows: Rows, items: tuple[Token, ...]) -> Outcome:
    leases = tuple(lease and lease._replace(over=True) for lease in rows.leases)
    return twin.release(graph, rows._replace(leases=leases), items, expired=True)


def _settles_twice(graph: Graph, rows: Rows, ends: tuple[End, ...]) -> Outcome:
    """A report that is refused still lowers the children."""
    outcome = twin.finish(graph, rows, ends)
    if outcome.named:
        return outcome
    jobs = list(rows.jobs)
    for end in ends:
        for number, work in enumerate(graph):
            if end.job in work.needs and jobs[number].unmet:
                jobs[number] = jobs[number]._replace(unmet=jobs[number].unmet - 1)
    return Outcome(rows._replace(jobs=tuple(jobs)))


def _fold_skips(graph: Graph, rows: Rows, ends: tuple[End, ...]) -> Outcome:
    """A start that is folded into its end has a version and no record."""
    outcome = twin.finish(graph, rows, ends)
    told = tuple(line for line in outcome.events.jobs if line.state != "RUNNING")
    return _told_instead(outcome, outcome.rows, outcome.events._replace(jobs=told))


def _finish_beats_cancel(graph: Graph, rows: Rows, ends: tuple[End, ...]) -> Outcome:
    running = tuple(job._replace(state="RUNNING") if job.state == "CANCELLING" else job for job in rows.jobs)
    return twin.finish(graph, rows._replace(jobs=running), ends)


def _endless_retry(graph: Graph, rows: Rows, ends: tuple[End, ...]) -> Outcome:
    return twin.finish(tuple(work._replace(retry_max=9) for work in graph), rows, ends)


def _ignores_bad_needs(graph: Graph, rows: Rows, decisions: Any) -> Outcome:
    return twin.resolve(graph, rows, tuple(one._replace(becomes="QUEUED", reason=None) for one in decisions))


def _expired_runs_again_after_cancel(graph: Graph, rows: Rows, items: tuple[Token, ...]) -> Outcome:
    running = tuple(job._replace(state="RUNNING") if job.state == "CANCELLING" else job for job in rows.jobs)
    return twin.release(graph, rows._replace(jobs=running), items, expired=True)


def _blind_claim(graph: Graph, rows: Rows, claims: tuple[Claim, ...]) -> Outcome:
    """Who else holds a name is no matter."""
    outcome = twin.claim(graph, rows._replace(holds=()), claims)
    return _keeping(rows, outcome)


def _keeps_holds(act: Act) -> Act:
    """Attempts end, and what they held stays held."""

    def keep(graph: Graph, rows: Rows, what: Any) -> Outcome:
        return _keeping(rows, act(graph, rows, what))

    return keep


def _keeping(rows: Rows, outcome: Outcome) -> Outcome:
    holds = tuple(sorted({*rows.holds, *outcome.rows.holds}))
    return outcome._replace(rows=outcome.rows._replace(holds=holds))


def _with_job(rows: Rows, number: int, job: Any) -> Rows:
    return rows._replace(jobs=(*rows.jobs[:number], job, *rows.jobs[number + 1 :]))


def _with_lease(rows: Rows, number: int, lease: Lease | None) -> Rows:
    return rows._replace(leases=(*rows.leases[:number], lease, *rows.leases[number + 1 :]))


def _told_instead(outcome: Outcome, rows: Rows, events: Events) -> Outcome:
    """The same transaction with other events."""
    if outcome.events in rows.outbox:
        rows = acked(rows, outcome.events)
        rows = rows._replace(outbox=tuple(sorted((*rows.outbox, events), key=repr)))
    return Outcome(rows, events, outcome.named)


def _off(duty: str) -> Rules:
    return Rules(without=frozenset((duty,)))


CRASH = Budget(crashes=1)
MUTANTS: dict[str, Mutant] = {
    "no fence on complete": Mutant(_with(finish=_unfenced("finish")), ONE, Budget(zombies=1)),
    "no fence on start": Mutant(_with(start=_unfenced("start")), ONE, Budget(zombies=1, losses=1)),
    "no fence on release": Mutant(
        _with(release=_unfenced("release")), ONE, Budget(zombies=1, copies=1, losses=1)
    ),
    "reaper without outbox": Mutant(_with(expire=_quiet(ACTS["expire"])), ONE, Budget(zombies=1)),
    "dispatcher without outbox": Mutant(_with(claim=_quiet(ACTS["claim"])), ONE, Budget()),
    "offset committed before handling": Mutant(Rules(offset_first=True), ONE, Budget(crashes=1, cancels=1)),
    "relay deletes before produce": Mutant(Rules(delete_first=True), ONE, Budget(crashes=2)),
    "relay switched off": Mutant(_off("relay"), ONE, CRASH),
    "claim without status check": Mutant(_with(claim=_claims_anything), ONE, Budget(copies=1)),
    "rowcount ignored": Mutant(Rules(blind_grants=True), ONE, Budget(copies=1)),
    "retry without fresh token": Mutant(_with(claim=_same_token), RETRIED, Budget(failures=1)),
    "cancel leaves a token valid": Mutant(_with(cancel=_cancel_leaves_token), ONE, Budget(cancels=1)),
    "cancel voids a token": Mutant(_with(cancel=_cancel_voids_token), ONE, Budget(cancels=1)),
    "cancel keeps a retry timer": Mutant(
        _with(cancel=_cancel_keeps_timer), RETRIED, Budget(cancels=1, failures=1)
    ),
    "cancel settles nothing": Mutant(_with(cancel=_cancel_forgets_children), FAN_IN, Budget(cancels=1)),
    "success beats a cancel": Mutant(_with(finish=_finish_beats_cancel), ONE, Budget(cancels=1)),
    "expiry beats a cancel": Mutant(
        _with(expire=_expired_runs_again_after_cancel), ONE, Budget(cancels=1, losses=1)
    ),
    "advance in a stale snapshot": Mutant(Rules(stale_fan_in=True), FAN_IN, Budget()),
    "settled twice": Mutant(_with(finish=_settles_twice), FAN_IN, Budget(copies=1)),
    "fold skips a version": Mutant(_with(finish=_fold_skips), ONE, Budget()),
    "release of a renewed lease": Mutant(_with(expire=_takes_renewed_leases), ONE, Budget(zombies=1)),
    "retries without a limit": Mutant(_with(finish=_endless_retry), ONE, Budget(failures=2)),
    "a bad need is no matter": Mutant(_with(resolve=_ignores_bad_needs), CLEANUP, Budget()),
    "reaper switched off": Mutant(_off("reaper"), ONE, Budget(losses=1)),
    "sweep switched off": Mutant(_off("sweep"), CLEANUP, Budget(cancels=1, losses=1)),
    "queue never read again": Mutant(_off("queue sweep"), ONE, Budget(losses=1)),
    "retry timers not looked at": Mutant(_off("retries"), RETRIED, Budget(failures=1)),
    "reports sent once": Mutant(_off("resend"), ONE, Budget(losses=1)),
    "runner forgets what it has seen": Mutant(_off("memory"), ONE, Budget(copies=1)),
    "claim does not look at holds": Mutant(_with(claim=_blind_claim), LOCKED, Budget()),
    "finish frees nothing": Mutant(_with(finish=_keeps_holds(ACTS["finish"])), LOCKED, Budget()),
    "release frees nothing": Mutant(_with(release=_keeps_holds(ACTS["release"])), LOCKED, Budget(zombies=1)),
    "expiry frees nothing": Mutant(_with(expire=_keeps_holds(ACTS["expire"])), LOCKED, Budget(losses=1)),
}
