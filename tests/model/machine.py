"""A runner: production's `Session` judges, this says what `Attempts` and the journal do about it."""

from __future__ import annotations

from tests.model.state import Message, Runner, Seat

from penstock.definition.model import DEFAULT_EXECUTOR
from penstock.events.jobs import Grant
from penstock_services.runner.session import Session as Rules

Answer = tuple[Runner, tuple[Message, ...]]
BEAT = 1
"""The heartbeat that fresh grants answer."""


class Machine:
    """One turn of a runner's process: made from its state, and read back by `done`."""

    def __init__(self, number: int, runner: Runner, *, forgets: bool = False) -> None:
        self.session = (number, runner.incarnation)
        self._before = runner
        self._gone = list(runner.gone)
        self._journal = list(runner.journal)
        self._sent: list[Message] = []
        self._tokens = {(seat.job, seat.attempt): seat.token for seat in (*runner.seats, *runner.gone)}
        self._rules = Rules("", slots=1, look_ahead=1, heartbeat_seconds=1.0, executors={DEFAULT_EXECUTOR})
        self._rules.beat(0.0)
        for seat in () if forgets else runner.gone:
            self._replay(seat, "gone")
        for phase in ("ended", "started", "granted"):
            for seat in runner.seats:
                if seat.phase == phase:
                    self._replay(seat, phase)

    def granted(self, grant: Message, *, fresh: bool) -> None:
        """A grant arrives: it is queued, given back, or dropped as one seen before."""
        self._tokens[grant.job, grant.attempt] = grant.token
        for refused in self._rules.accept(BEAT if fresh else BEAT + 1, [_grant(grant)], 0.0):
            self._leave(int(refused.job_id), refused.attempt)
            self._report(int(refused.job_id), refused.attempt, "released")
        self._start()

    def ended(self, job: int, attempt: int, *, success: bool, reason: str) -> None:
        """The process of an attempt exits."""
        seat = self._rules.seat((str(job), attempt))
        assert seat is not None
        self._rules.end(seat, 0.0)
        self._report(job, attempt, "ended", success=success, ran=True, reason=reason)
        self._start()

    def ordered(self, order: Message) -> None:
        """Stop an attempt and tell of its end, or (void) kill it and say nothing."""
        seat = self._rules.seat((str(order.job), order.attempt))
        if seat is None or seat.phase == "ended":
            return
        if seat.phase == "granted":
            self._rules.withdraw(seat)
            self._leave(order.job, order.attempt)
            if order.word != "void":
                self._report(order.job, order.attempt, "ended", reason=order.word)
        elif order.word != "void":
            self.ended(order.job, order.attempt, success=False, reason=order.word)
        else:
            seat.voided = True
            self._rules.end(seat, 0.0)
            self._leave(order.job, order.attempt)
            self._journal = [
                one for one in self._journal if _key(one) != _key(order) or one.word != "started"
            ]
            self._start()

    def settled(self, message: Message) -> None:
        """A report was decided: it need not be sent again."""
        self._journal = [
            one for one in self._journal if _key(one) != _key(message) or one.word != message.word
        ]
        if message.word == "ended":
            key = (str(message.job), message.attempt)
            seat = self._rules.seat(key)
            if seat is not None and seat.phase == "ended":
                self._rules.settle(key)
                self._leave(message.job, message.attempt)
        elif message.word == "started" and not message.accepted:
            self.ordered(message._replace(word="void"))

    def done(self) -> Answer:
        """The runner after its turn, and what it sent."""
        seats = sorted(
            Seat(int(seat.grant.job_id), seat.grant.attempt, self._token(seat.key), seat.phase)
            for seat in self._rules.seats()
        )
        runner = self._before._replace(
            seats=tuple(seats), gone=tuple(sorted(set(self._gone))), journal=tuple(sorted(self._journal))
        )
        return runner, tuple(self._sent)

    def _start(self) -> None:
        while (seat := self._rules.start(0.0)) is not None:
            self._report(int(seat.grant.job_id), seat.grant.attempt, "started", ran=True)

    def _leave(self, job: int, attempt: int) -> None:
        self._gone.append(Seat(job, attempt, self._tokens[job, attempt], "gone"))

    def _report(
        self, job: int, attempt: int, word: str, *, success: bool = False, ran: bool = False, reason: str = ""
    ) -> None:
        token = self._tokens[job, attempt]
        report = Message("report", job, self.session, attempt, token, word, success, ran, reason)
        self._journal = [*(one for one in self._journal if _key(one) != (job, attempt)), report]
        self._sent.append(report)

    def _replay(self, seat: Seat, phase: str) -> None:
        self._rules.accept(BEAT, [_grant(seat)], 0.0)
        if phase == "granted":
            return
        started = self._rules.start(0.0)
        if started is None or phase == "started":
            return
        self._rules.end(started, 0.0)
        if phase == "gone":
            self._rules.settle(started.key)

    def _token(self, key: tuple[str, int]) -> int:
        return self._tokens[int(key[0]), key[1]]


def _grant(of: Message | Seat) -> Grant:
    return Grant(str(of.job), of.attempt, str(of.token), "", "", "", {})


def _key(message: Message) -> tuple[int, int]:
    return message.job, message.attempt
