"""One step of a process: a transaction, what it publishes, and the crashes on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tests.model import invariants
from tests.model.machine import Answer, Machine
from tests.model.rules import PROTOCOL, Rules
from tests.model.state import Book, Message, Move, Runner, Shape, State, Violation, records

from penstock.testing.model import transitions as twin
from penstock.testing.model.rows import SILENCE, Events, Rows, acked, publish
from penstock.testing.model.transitions import Decision, End, Token
from penstock_services.advancer.decide import Facts, decide


class Done(NamedTuple):
    """One transaction: rows with its outbox row, rows without it, its events, and the jobs it names."""

    kept: int
    clean: int
    events: Events
    named: tuple[int, ...]
    wrong: tuple[str, ...]


class Steps:
    """Parts of which all moves are made. What was computed once for the same rows is kept."""

    def __init__(self, shape: Shape, rules: Rules = PROTOCOL) -> None:
        self.shape = shape
        self.rules = rules
        self.graph = shape.graph
        self.rows: Book[Rows] = Book()
        self.runners: Book[Runner] = Book()
        self.messages: Book[Message] = Book()
        self._done: dict[tuple[Any, ...], Done] = {}
        self._turns: dict[tuple[Any, ...], tuple[int, tuple[int, ...]]] = {}
        self._beats: dict[tuple[int, int, int], tuple[int, tuple[Message, ...], tuple[Token, ...]]] = {}

    def _act(self, state: State, name: str, arguments: Any) -> Done:
        key = (name, state.rows, arguments)
        done = self._done.get(key)
        if done is None:
            before, act = self.rows[state.rows], self.rules.acts[name]
            outcome = act(self.graph, before, arguments)
            events = outcome.events
            kept = clean = outcome.rows
            if events in kept.outbox:
                clean = acked(kept, events)
            wrong: tuple[str, ...] = ()
            if outcome.rows != before or events != SILENCE:
                wrong = (
                    *invariants.of_transaction(self.graph, name, arguments, before, outcome, act),
                    *invariants.of_rows(self.graph, clean),
                )
            done = Done(self.rows.number(kept), self.rows.number(clean), events, outcome.named, wrong)
            self._done[key] = done
        return done

    def _commit(
        self, state: State, taken: State, label: tuple[Any, ...], done: Done, more: Iterable[Message] = (),
        *, decides: bool = False, answers: Message | None = None,
    ) -> Iterator[Move]:  # fmt: skip
        """A transaction and what follows from it, whole, or cut off by a crash behind each of its parts."""
        if done.wrong:
            raise Violation(label, done.wrong[0])
        out = [*records(done.events), *more]
        after = taken._replace(rows=done.clean)
        if done.events.undecided:
            if decides:
                decisions = self._decide(done.clean, done.events.undecided)
                if not self._has_replica(taken, "resolve"):
                    return
                after = after._replace(minds=tuple(sorted((*after.minds, ("resolve", decisions)))))
            else:
                out += [Message("undecided", job) for job in done.events.undecided]
        after = self._send(after, out)
        if answers is None:
            yield Move(label, after)
        else:
            yield Move(label, self._settle(after, answers, accepted=answers.job in done.named))
            if state.left.losses:
                sentence, *places = label
                poorer = after._replace(left=state.left._replace(losses=state.left.losses - 1))
                yield Move((f"{sentence}, and the answer is lost", *places), poorer, fault=True)
        if state.left.crashes and done.kept != done.clean:
            poorer = state.left._replace(crashes=state.left.crashes - 1)
            sentence, *places = label
            unsent = state._replace(rows=done.kept, left=poorer)
            yield Move((f"{sentence}, commits, and crashes before it publishes", *places), unsent, fault=True)
            sent = self._send(unsent, out)
            yield Move((f"{sentence}, publishes, and crashes before it is acked", *places), sent, fault=True)
            if answers is not None:
                acked_too = sent._replace(rows=done.clean)
                yield Move((f"{sentence}, and crashes before its offset", *places), acked_too, fault=True)

    def _remember(self, state: State, label: tuple[Any, ...], mind: tuple[str, Any]) -> Iterator[Move]:
        if self._has_replica(state, mind[0]):
            yield Move(label, state._replace(minds=tuple(sorted((*state.minds, mind)))))

    def _has_replica(self, state: State, kind: str) -> bool:
        return sum(mind[0] == kind for mind in state.minds) < self.shape.replicas

    def _decide(self, rows: int, jobs: Iterable[int]) -> tuple[Decision, ...]:
        """What production's pure decide says. The needs have ended: what it looks at changes no more."""
        facts = twin.undecided(self.graph, self.rows[rows], jobs)
        asked = (decide(Facts(str(one.job), "", *one[1:])) for one in facts)
        return tuple(Decision(int(one.job_id), one.becomes, one.reason) for one in asked)

    def _is_decided(self, state: State, job: int) -> bool:
        return any(kind == "resolve" and any(one.job == job for one in what) for kind, what in state.minds)

    def _send(self, state: State, messages: Iterable[Message], *, copy: bool = False) -> State:
        """Put records in flight. One that is there already adds nothing that a copy does not."""
        found = [self.messages.number(message) for message in messages]
        fresh = found if copy else [number for number in dict.fromkeys(found) if number not in state.net]
        return state._replace(net=tuple(sorted((*state.net, *fresh)))) if fresh else state

    def _take(self, state: State, number: int) -> State:
        at = state.net.index(number)
        return state._replace(net=state.net[:at] + state.net[at + 1 :])

    def _turn(
        self, state: State, number: int, label: tuple[Any, ...], name: str, *what: Any, **how: Any
    ) -> Move:
        """A runner's process does something."""
        before = state.runners[number]
        key = (number, before, name, what, tuple(how.items()))
        if key not in self._turns:
            machine = Machine(number, self.runners[before], forgets="memory" in self.rules.without)
            getattr(machine, name)(*what, **how)
            runner, sent = machine.done()
            self._turns[key] = self.runners.number(runner), tuple(map(self.messages.number, sent))
            self._check_starts(label, self.runners[before], (runner, sent))
        after, sent_numbers = self._turns[key]
        sent_messages = [self.messages[one] for one in sent_numbers]
        self._check_claims(state, label, sent_messages)
        return Move(label, self._send(with_runner(state, number, after), sent_messages))

    def _forgotten(self, state: State) -> State:
        """What a runner has seen matters only while its grant may come again."""
        coming = {
            (one.session, one.job, one.attempt)
            for one in map(self.messages.__getitem__, state.net)
            if one.kind == "grant"
        }
        coming |= {grant[:3] for events in self.rows[state.rows].outbox for grant in events.grants}
        for number, at in enumerate(state.runners):
            runner = self.runners[at]
            session = number, runner.incarnation
            kept = tuple(seat for seat in runner.gone if (session, seat.job, seat.attempt) in coming)
            if kept != runner.gone:
                state = with_runner(state, number, self.runners.number(runner._replace(gone=kept)))
        return state

    def _check_starts(self, label: tuple[Any, ...], before: Runner, answer: Answer) -> None:
        seen = {(seat.job, seat.attempt) for seat in before.gone}
        for report in answer[1]:
            if report.word == "started" and (report.job, report.attempt) in seen:
                raise Violation(label, f"I6: attempt {report.attempt} of job {report.job} starts twice")

    def _check_claims(self, state: State, label: tuple[Any, ...], sent: Iterable[Message]) -> None:
        for report in sent:
            if report.word == "started" and self.rows[state.rows].jobs[report.job].attempt < report.attempt:
                raise Violation(label, f"I6: attempt {report.attempt} of job {report.job} starts unclaimed")

    def _stale_end(self, state: State, message: Message, seen: int) -> Done:
        """The mutant's: needs are looked at as they were when the transaction began."""
        item = End(message.job, message.token, message.success, message.ran, message.reason or None)
        done = self._act(state, "finish", (item,))
        now, then, before = self.rows[done.clean], self.rows[seen], self.rows[state.rows]
        missed = {
            number
            for number in done.events.ready
            if any(
                then.jobs[need].state != "SUCCESS" for need in self.graph[number].needs if need != message.job
            )
        }
        jobs = tuple(before.jobs[n] if n in missed else job for n, job in enumerate(now.jobs))
        ready = tuple(waits and n not in missed for n, waits in enumerate(now.ready))
        told = tuple(line for line in done.events.jobs if line.job not in missed)
        events = done.events._replace(jobs=told, ready=tuple(n for n in done.events.ready if n not in missed))
        clean = now._replace(jobs=jobs, ready=ready)
        kept = publish(clean, events)
        return Done(self.rows.number(kept), self.rows.number(clean), events, done.named, ())


def with_runner(state: State, number: int, runner: int) -> State:
    return state._replace(runners=(*state.runners[:number], runner, *state.runners[number + 1 :]))
