"""All that may happen next in a small world. What a service does is one atomic step with its crashes.

A step is: take a record, one transaction, publish, delete the outbox row, commit the offset. Records may be
delivered at any later time, so that publishing late is nothing new; what differs is a crash on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.model import invariants
from tests.model.state import PIPELINE, Message, Move, Runner, State, Violation, records
from tests.model.steps import Steps, with_runner

from penstock.core.states import JOB_TERMINAL
from penstock.events.workers import Heartbeat, Held
from penstock.testing.model import transitions as twin
from penstock.testing.model.rows import Rows, accept, acked
from penstock.testing.model.transitions import End, Hold, Token
from penstock_services.reaper.decide import unstarted


class World(Steps):
    """The moves of a shape under the rules of the protocol, or of a mutant."""

    def first(self) -> State:
        """The pipeline was accepted, and intake has published."""
        outcome = accept(self.graph)
        state = State(
            rows=self.rows.number(acked(outcome.rows, outcome.events)),
            runners=(self.runners.number(Runner()),) * self.shape.runners,
            net=(),
            minds=(),
            left=self.shape.budget,
        )
        return self._send(state, records(outcome.events))

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that may happen next, in the canonical form of states. Raises Violation."""
        for label, after, fault in self._moves(state):
            yield Move(label, self._forgotten(after), fault)

    def _moves(self, state: State) -> Iterator[Move]:
        spent = self._spent(state)
        if spent is not None:
            # It changes no row, now or later, so that its turn may as well be now.
            yield from self._handled(state, spent)
            return
        for number in sorted(set(state.net)):
            yield from self._handled(state, number)
            yield from self._mishaps(state, number)
        for number in range(len(state.runners)):
            yield from self._runner(state, number)
        for at in range(len(state.minds)):
            yield from self._mind(state, at)
        yield from self._scans(state)
        yield from self._relay(state)
        yield from self._expiry(state)
        yield from self._leftovers(state)
        yield from self._overruns(state)
        yield from self._cancels(state)

    def wrong_at_rest(self, state: State) -> list[str]:
        """What is not as it must be when nothing more happens."""
        runners = [self.runners[number] for number in state.runners]
        return invariants.at_rest(self.graph, self.rows[state.rows], state, runners)

    # Records

    def _handled(self, state: State, number: int) -> Iterator[Move]:
        message = self.messages[number]
        taken = self._take(state, number)
        match message.kind:
            case "ready":
                yield from self._ready(state, taken, message)
            case "grant":
                yield from self._grant(state, taken, message)
            case "order":
                yield from self._order(taken, message)
            case "report":
                yield from self._report(state, taken, message)
            case "undecided":
                yield from self._ask(taken, message)
            case _:
                yield from self._cancel(state, taken, message)

    def _mishaps(self, state: State, number: int) -> Iterator[Move]:
        message = self.messages[number]
        taken = self._take(state, number)
        left = state.left
        what = f"{message.kind} {message.word}".strip()
        if left.losses and message.kind != "cancel":  # the row of a cancel is swept until it is applied
            gone = taken._replace(left=left._replace(losses=left.losses - 1))
            yield Move(("the record '{}' of job {} is lost", what, message.job), gone, fault=True)
        if left.copies and state.net.count(number) == 1:
            again = self._send(state, [message], copy=True)
            copied = again._replace(left=left._replace(copies=left.copies - 1))
            yield Move(("the record '{}' of job {} comes twice", what, message.job), copied, fault=True)
        if self.rules.offset_first and left.crashes and message.kind not in ("grant", "order"):
            gone = taken._replace(left=left._replace(crashes=left.crashes - 1))
            label = ("the offset of '{}' of job {} is committed, then its service crashes", what, message.job)
            yield Move(label, gone, fault=True)

    def _spent(self, state: State) -> int | None:
        """A record that comes too late: its token is void, its job has ended, or its session is dead."""
        rows = self.rows[state.rows]
        for number in state.net:
            message = self.messages[number]
            job = rows.jobs[message.job]
            if message.kind in ("grant", "order"):
                runner = self.runners[state.runners[message.session[0]]]
                spent = runner.incarnation != message.session[1]
            elif message.kind == "report":
                spent = job.attempt > message.attempt or not job.token
            else:
                spent = message.kind in ("ready", "undecided") and job.state in JOB_TERMINAL
            if spent:
                return number
        return None

    def _ready(self, state: State, taken: State, message: Message) -> Iterator[Move]:
        rows = self.rows[state.rows]
        if rows.jobs[message.job].state == "QUEUED":
            chosen = [number for number in range(len(state.runners)) if self._has_room(state, rows, number)]
            chosen = self._unlike(state, rows, chosen)
        else:
            chosen = [0]
        for number in chosen:
            session = (number, self.runners[state.runners[number]].incarnation)
            done = self._act(state, "claim", (twin.Claim(message.job, session),))
            label = ("a dispatcher claims job {} for runner {}", message.job, str(number + 1))
            blind: list[Message] = []
            if self.rules.blind_grants and not done.named:
                attempt = rows.jobs[message.job].attempt + 1
                blind = [Message("grant", message.job, session, attempt, attempt)]
            yield from self._commit(state, taken, label, done, blind)

    def _grant(self, state: State, taken: State, message: Message) -> Iterator[Move]:
        number, incarnation = message.session
        runner = self.runners[state.runners[number]]
        if runner.incarnation != incarnation:
            yield Move(("the grant of job {} is for a dead session", message.job), taken)
            return
        label = ("runner {} takes the grant of job {}, attempt {}", str(number + 1), message.job,
                 str(message.attempt))  # fmt: skip
        yield self._turn(taken, number, label, "granted", message, fresh=True)
        if state.left.zombies:
            late = taken._replace(left=state.left._replace(zombies=state.left.zombies - 1))
            label = ("runner {} reads the grant of job {} too late", str(number + 1), message.job)
            yield self._turn(late, number, label, "granted", message, fresh=False)._replace(fault=True)

    def _order(self, taken: State, message: Message) -> Iterator[Move]:
        number, incarnation = message.session
        if self.runners[taken.runners[number]].incarnation != incarnation:
            yield Move(("an order about job {} is for a dead session", message.job), taken)
            return
        label = ("runner {} is ordered to {} job {}, attempt {}", str(number + 1), message.word,
                 message.job, str(message.attempt))  # fmt: skip
        yield self._turn(taken, number, label, "ordered", message)

    def _settle(self, state: State, message: Message, *, accepted: bool) -> State:
        """The runner learns of it. Later or never is the same as a report that is sent again."""
        number, incarnation = message.session
        if self.runners[state.runners[number]].incarnation != incarnation:
            return state
        answer = message._replace(kind="settled", accepted=accepted)
        return self._turn(state, number, (), "settled", answer).state

    def _report(self, state: State, taken: State, message: Message) -> Iterator[Move]:
        if message.word == "ended":
            if self.rules.stale_fan_in:
                snapshot = ("snapshot", (message, state.rows))
                yield from self._remember(
                    taken, ("an advancer begins the end of job {}", message.job), snapshot
                )
                return
            reason = message.reason or None
            name, item = "finish", End(message.job, message.token, message.success, message.ran, reason)
        else:
            name = "start" if message.word == "started" else "release"
            item = Token(message.job, message.token)  # type: ignore[assignment]
        done = self._act(state, name, (item,))
        label = ("an advancer handles '{}' of job {}, attempt {}", message.word, message.job,
                 str(message.attempt))  # fmt: skip
        yield from self._commit(state, taken, label, done, decides=True, answers=message)

    def _ask(self, taken: State, message: Message) -> Iterator[Move]:
        decisions = self._decide(taken.rows, (message.job,))
        label = ("an advancer asks whether job {} may go", message.job)
        if decisions:
            yield from self._remember(taken, label, ("resolve", decisions))
        else:
            yield Move(label, taken)

    def _cancel(self, state: State, taken: State, message: Message) -> Iterator[Move]:
        only = None if message.job == PIPELINE else message.job
        done = self._act(state, "cancel", (only,))
        heard = tuple(target for target in state.unheard if target != message.job)
        state, taken = state._replace(unheard=heard), taken._replace(unheard=heard)
        yield from self._commit(state, taken, ("the canceller applies the cancel",), done)

    # Runners

    def _runner(self, state: State, number: int) -> Iterator[Move]:
        runner = self.runners[state.runners[number]]
        name = str(number + 1)
        for job, attempt, _, phase in runner.seats:
            if phase == "started":
                label = ("job {}, attempt {} ends well at runner {}", job, str(attempt), name)
                yield self._turn(state, number, label, "ended", job, attempt, success=True, reason="")
                if state.left.failures:
                    label = ("job {}, attempt {} fails at runner {}", job, str(attempt), name)
                    poorer = state._replace(left=state.left._replace(failures=state.left.failures - 1))
                    yield self._turn(poorer, number, label, "ended", job, attempt, success=False,
                                     reason="exit-code")  # fmt: skip
        if "resend" not in self.rules.without:
            for entry in runner.journal:
                if not self._is_under_way(state, entry):
                    label = ("runner {} reports '{}' of job {} again", name, entry.word, entry.job)
                    yield Move(label, self._send(state, [_of(entry, number, runner)]))
        if runner.seats:
            yield from self._beat(state, number)
        if state.left.crashes and (runner.seats or runner.journal):
            yield Move(("runner {} crashes and comes back", name), self._crashed(state, number), fault=True)

    def _beat(self, state: State, number: int) -> Iterator[Move]:
        rows, orders, starts = self._renewed(state.rows, number, state.runners[number])
        label = ("a reaper renews for runner {}", str(number + 1))
        after = state._replace(rows=rows)
        for order in orders:
            # At once: a confirmation that comes late or never is a later heartbeat's.
            after = self._turn(after, number, label, "ordered", order).state
        starts = tuple(one for one in starts if not self._is_told(state, one))
        if starts and ("start", starts) not in state.minds:
            yield from self._remember(after, label, ("start", starts))
        if after != state:
            yield Move(label, after)

    def _renewed(
        self, rows_number: int, number: int, runner_number: int
    ) -> tuple[int, tuple[Message, ...], tuple[Token, ...]]:
        key = (rows_number, number, runner_number)
        if key not in self._beats:
            runner = self.runners[runner_number]
            session = (number, runner.incarnation)
            holds = [Hold(seat.job, seat.attempt, seat.token, seat.phase == "ended") for seat in runner.seats]
            rows, verdicts = twin.renew(self.rows[rows_number], holds)
            alive = {(seat.job, seat.attempt) for seat in runner.seats if seat.phase != "ended"}
            orders = tuple(
                Message("order", one.job, session, one.attempt, word=_word(one))
                for one in verdicts
                if _word(one) and (one.job, one.attempt) in alive
            )
            held = [Held(str(seat.job), seat.attempt, str(seat.token), seat.phase) for seat in runner.seats]  # type: ignore[arg-type]
            answers = [one._asdict() | {"job_id": str(one.job)} for one in verdicts]
            missing = unstarted([Heartbeat("", 1, "", "", 1, held=held)], answers)
            starts = tuple(Token(int(one["job_id"]), int(one["token"])) for one in missing)
            self._beats[key] = self.rows.number(rows), orders, starts
        return self._beats[key]

    def _crashed(self, state: State, number: int) -> State:
        runner = self.runners[state.runners[number]]
        # A start without an end died with its process: its lease tells the services.
        journal = tuple(entry for entry in runner.journal if entry.word == "ended")
        fresh = Runner(runner.incarnation + 1, journal=journal)
        crashed = state._replace(left=state.left._replace(crashes=state.left.crashes - 1))
        return with_runner(crashed, number, self.runners.number(fresh))

    # Replicas between two transactions

    def _mind(self, state: State, at: int) -> Iterator[Move]:
        kind, what = state.minds[at]
        if at and state.minds[at - 1] == state.minds[at]:
            return
        taken = state._replace(minds=state.minds[:at] + state.minds[at + 1 :])
        if kind == "snapshot":
            message, seen = what
            done = self._stale_end(state, message, seen)
            label = ("an advancer commits the end of job {} with what it saw before", message.job)
            yield from self._commit(state, taken, label, done, answers=message)
        else:
            done = self._act(state, kind, what)
            labels = {"resolve": "an advancer carries out what was decided about job {}",
                      "expire": "a reaper takes back the lease of job {}",
                      "start": "a reaper notes the start of job {}"}  # fmt: skip
            label = (labels[kind], what[0].job)
            yield from self._commit(state, taken, label, done, decides=kind == "resolve")
        if state.left.crashes:
            crashed = taken._replace(left=state.left._replace(crashes=state.left.crashes - 1))
            yield Move(("a replica crashes that had read what to do ('{}')", kind), crashed, fault=True)

    # What happens by the clock

    def _scans(self, state: State) -> Iterator[Move]:
        rows, without = self.rows[state.rows], self.rules.without
        over = tuple(
            Token(number, lease.token) for number, lease in enumerate(rows.leases) if lease and lease.over
        )
        if over and "reaper" not in without and ("expire", over) not in state.minds:
            yield from self._remember(state, ("a reaper finds expired leases",), ("expire", over))
        if any(rows.timers) and "retries" not in without:
            done = self._act(state, "retry_due", ())
            yield from self._commit(state, state, ("a reaper finds retries that are due",), done)
        if "sweep" not in without:
            done = self._act(state, "lost", (True,))
            waiting = [job for job in done.events.undecided if not self._is_decided(state, job)]
            found = [*records(done.events), *(Message("undecided", job) for job in waiting)]
            swept = self._send(state._replace(rows=done.clean), found)
            if swept != state:
                yield Move(("the sweep finds lost work",), swept)
        if "queue sweep" not in without:
            known = [Message("ready", number) for number, waits in enumerate(rows.ready) if waits]
            swept = self._send(state, known)
            if swept != state:
                yield Move(("a dispatcher reads the queue again",), swept)

    def _relay(self, state: State) -> Iterator[Move]:
        rows = self.rows[state.rows]
        if "relay" in self.rules.without:
            return
        for events in dict.fromkeys(rows.outbox):
            deleted = state._replace(rows=self.rows.number(acked(rows, events)))
            found = [*records(events), *(Message("undecided", job) for job in events.undecided)]
            label = ("the relay publishes an event that was left in the outbox",)
            yield Move(label, self._send(deleted, found))
            if state.left.crashes:
                poorer = state.left._replace(crashes=state.left.crashes - 1)
                if self.rules.delete_first:
                    raise Violation(
                        ("the relay deletes an event, then crashes",),
                        "I9: its records are neither published nor in the outbox",
                    )
                crashed = self._send(state._replace(left=poorer), found)
                yield Move(("the relay publishes an event and crashes",), crashed, fault=True)

    def _expiry(self, state: State) -> Iterator[Move]:
        """Time passes for a lease. Of an attempt that nobody holds it will; else somebody is silent."""
        rows = self.rows[state.rows]
        for number, lease in enumerate(rows.leases):
            if lease is None or lease.over:
                continue
            after = list(rows.leases)
            after[number] = lease._replace(over=True)
            expired = state._replace(rows=self.rows.number(rows._replace(leases=tuple(after))))
            if not self._is_alive(state, number, lease):
                yield Move(("the lease of job {} expires: nobody holds it", number), expired)
            elif state.left.zombies:
                left = state.left._replace(zombies=state.left.zombies - 1)
                label = ("the lease of job {} expires while its runner goes on", number)
                yield Move(label, expired._replace(left=left), fault=True)

    def _leftovers(self, state: State) -> Iterator[Move]:
        """Two at once may leave the queue without a row: a sweep's insert meets a claim's delete."""
        rows = self.rows[state.rows]
        for number, waits in enumerate(rows.ready if state.left.losses else ()):
            if waits:
                left = state.left._replace(losses=state.left.losses - 1)
                ready = (*rows.ready[:number], False, *rows.ready[number + 1 :])
                after = self.rows.number(rows._replace(ready=ready))
                label = ("the row of job {} in the queue is lost", number)
                yield Move(label, state._replace(rows=after, left=left), fault=True)

    def _overruns(self, state: State) -> Iterator[Move]:
        """A run or grace timer is due: the reaper orders the stop and renews no more."""
        rows = self.rows[state.rows]
        for number, limit in enumerate(rows.limits if state.left.overruns else ()):
            if limit is not None:
                limits = list(rows.limits)
                limits[number] = limit._replace(due=True)
                after, stops = twin.stop_due(rows._replace(limits=tuple(limits)))
                left = state.left._replace(overruns=state.left.overruns - 1)
                stopped = state._replace(rows=self.rows.number(after), left=left)
                orders = [
                    Message("order", one.job, one.session, one.attempt, word=one.reason) for one in stops
                ]
                label = ("the {} timer of job {} is due", limit.kind, number)
                yield Move(label, self._send(stopped, orders), fault=True)

    def _cancels(self, state: State) -> Iterator[Move]:
        if state.left.cancels:
            for target in self.shape.targets:
                asked = state._replace(
                    left=state.left._replace(cancels=state.left.cancels - 1), unheard=(target,)
                )
                label = ("somebody cancels {}", "the pipeline" if target == PIPELINE else f"job {target}")
                yield Move(label, self._send(asked, [Message("cancel", target)]), fault=True)

    # What is known of a state

    def _is_alive(self, state: State, job: int, lease: Any) -> bool:
        number, incarnation = lease.session
        runner = self.runners[state.runners[number]]
        if runner.incarnation != incarnation or lease.ending is not None:
            return False
        attempt = (job, lease.attempt)
        if any(attempt == (one.job, one.attempt) for one in (*runner.seats, *runner.journal)):
            return True
        flying = (self.messages[one] for one in state.net)
        return any(one.kind == "grant" and attempt == (one.job, one.attempt) for one in flying)

    def _is_told(self, state: State, start: Token) -> bool:
        """Whether its report is in flight, as it mostly is."""
        flying = (self.messages[one] for one in state.net)
        return any(one.kind == "report" and (one.job, one.token) == start for one in flying)

    def _is_under_way(self, state: State, entry: Message) -> bool:
        flying = (self.messages[one] for one in state.net)
        return any(
            one.kind == "report"
            and (one.job, one.attempt, one.word) == (entry.job, entry.attempt, entry.word)
            for one in flying
        ) or any(kind == "snapshot" and what[0][:5] == entry[:5] for kind, what in state.minds)

    def _has_room(self, state: State, rows: Rows, number: int) -> bool:
        """As heartbeats and leases tell it. What is refused all the same, a grant that is late stands for."""
        runner = self.runners[state.runners[number]]
        session = (number, runner.incarnation)
        held = any(lease is not None and lease.session == session for lease in rows.leases)
        return not held and all(seat.phase == "ended" for seat in runner.seats)

    def _unlike(self, state: State, rows: Rows, chosen: list[int]) -> list[int]:
        """Of runners about which nothing is known one will do: they are alike."""
        known = {lease.session[0] for lease in rows.leases if lease}
        known |= {self.messages[one].session[0] for one in state.net}
        blank = [n for n in chosen if n not in known and self.runners[state.runners[n]] == Runner()]
        return [number for number in chosen if number not in blank[1:]]


def _word(verdict: twin.Verdict) -> str:
    """What a confirmation orders."""
    if verdict.verdict == "ok":
        return verdict.ending or ""
    return "void" if verdict.verdict == "void" else "cancelled"


def _of(entry: Message, number: int, runner: Runner) -> Message:
    """A report of the journal as this incarnation sends it."""
    return entry._replace(session=(number, runner.incarnation))
