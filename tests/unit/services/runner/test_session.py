from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from penstock.events.jobs import Grant
from penstock.events.workers import Ended, Held
from penstock.runtime.settings import EXCLUSIVE_RESERVE_SECONDS
from penstock_services.runner.session import Key, Seat, Session

NewGrant = Callable[..., Grant]


@pytest.fixture
def session() -> Session:
    session = Session(
        "s", slots=2, look_ahead=3, heartbeat_seconds=5, executors=frozenset(("held", "process"))
    )
    session.beat(100.0)
    return session


def test_starts_what_was_granted_in_order_while_slots_are_free(session: Session, new_grant: NewGrant) -> None:
    grants = [new_grant() for _ in range(3)]
    assert session.accept(1, grants, 101.0) == []
    first, second, third = session.start(102.0), session.start(102.0), session.start(102.0)
    assert first is not None
    assert second is not None
    assert [first.grant, second.grant, third] == [*grants[:2], None]
    assert session.running == 2
    assert session.granted == 1
    session.end(second, 103.0)
    third = session.start(104.0)
    assert third is not None
    assert third.grant == grants[2]


def test_a_heartbeat_lists_every_attempt_with_its_phase_until_settled(
    session: Session, new_grant: NewGrant
) -> None:
    grants = [new_grant() for _ in range(4)]
    session.accept(1, grants, 101.0)
    ended = session.start(101.0)
    assert ended is not None
    session.end(ended, 101.5)
    session.start(101.5)
    session.start(101.5)
    phases = ["ended", "started", "started", "granted"]
    assert session.held() == [
        Held(g.job_id, g.attempt, g.token, phase)  # type: ignore[arg-type]
        for g, phase in zip(grants, phases, strict=True)
    ]
    session.settle(ended.key)
    assert [held.phase for held in session.held()] == phases[1:]


def test_only_an_end_can_be_settled(session: Session, new_grant: NewGrant) -> None:
    session.accept(1, [new_grant()], 101.0)
    seat = session.start(101.0)
    assert seat is not None
    session.settle(seat.key)
    assert len(session.held()) == 1


def test_a_repeated_grant_starts_nothing(session: Session, new_grant: NewGrant) -> None:
    grant = new_grant()
    session.accept(1, [grant, grant], 101.0)
    session.accept(1, [grant], 102.0)
    seat = session.start(102.0)
    assert seat is not None
    assert session.start(102.0) is None
    session.end(seat, 103.0)
    session.settle(seat.key)
    assert session.accept(1, [grant], 104.0) == [], "also after it was forgotten"
    assert session.start(104.0) is None


def test_a_repeat_is_known_as_long_as_its_heartbeat_is_fresh(session: Session, new_grant: NewGrant) -> None:
    grant = new_grant()
    session.accept(1, [grant], 100.1)
    seat = session.start(100.1)
    assert seat is not None
    session.end(seat, 100.2)
    session.settle(seat.key)
    for now in (105.0, 110.0):
        n = session.beat(now)
        assert session.accept(1, [grant], now) == []
        assert session.start(now) is None
    assert n == 3
    session.beat(110.2)
    assert session.accept(1, [grant], 110.2) == [], "its heartbeat is too old, but it was seen"


def test_a_grant_that_answers_an_old_heartbeat_is_given_back(session: Session, new_grant: NewGrant) -> None:
    grant = new_grant()
    assert session.accept(1, [grant], 110.1) == [grant]
    assert session.start(110.1) is None
    assert session.take_ended() == [Ended(grant.job_id, 1, -1)]


@pytest.mark.parametrize("n", [0, 2])
def test_a_grant_that_answers_no_heartbeat_of_ours_is_given_back(
    session: Session, new_grant: NewGrant, n: int
) -> None:
    grant = new_grant()
    assert session.accept(n, [grant], 100.1) == [grant]


def test_more_than_slots_and_look_ahead_is_given_back(session: Session, new_grant: NewGrant) -> None:
    grants = [new_grant() for _ in range(7)]
    assert session.accept(1, grants, 101.0) == grants[5:]
    assert session.take_ended() == [Ended(g.job_id, 1, -1) for g in grants[5:]]


def test_ends_that_nobody_settles_stop_the_flow(
    session: Session, new_grant: NewGrant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock_services.runner.session.MAX_HELD", 2)
    for _ in range(2):
        assert session.accept(1, [new_grant()], 101.0) == []
        seat = session.start(101.0)
        assert seat is not None
        session.end(seat, 101.0)
    more = new_grant()
    assert session.accept(1, [more], 101.0) == [more]
    session.settle(seat.key)
    assert session.accept(1, [new_grant()], 101.0) == []


def test_a_job_for_an_executor_that_is_not_here_is_given_back(session: Session, new_grant: NewGrant) -> None:
    grant = new_grant(executor="container")
    assert session.accept(1, [grant], 101.0) == [grant]


def test_the_default_executor_needs_no_name(session: Session, new_grant: NewGrant) -> None:
    grant = new_grant()
    del grant.spec["executor"]
    assert session.accept(1, [grant], 101.0) == []


def test_what_waited_too_long_for_a_slot_is_given_back_before_its_lease_ends(
    session: Session, new_grant: NewGrant
) -> None:
    early, late = new_grant(), new_grant()
    session.accept(1, [early], 101.0)
    session.beat(105.0)
    session.accept(2, [late], 106.0)
    assert session.overdue(112.5) == []
    assert session.overdue(112.6) == [early]
    assert session.overdue(112.6) == []
    seat = session.start(112.6)
    assert seat is not None
    assert seat.grant == late


def test_a_withdrawn_attempt_is_skipped(session: Session, new_grant: NewGrant) -> None:
    grants = [new_grant() for _ in range(2)]
    session.accept(1, grants, 101.0)
    seat = session.seat((grants[0].job_id, 1))
    assert seat is not None
    session.withdraw(seat)
    assert session.granted == 1
    assert session.overdue(101.0) == []
    started = session.start(101.0)
    assert started is not None
    assert started.grant == grants[1]
    assert session.take_ended() == [Ended(grants[0].job_id, 1, -1)]


def test_draining_gives_back_what_waits_and_refuses_what_comes(session: Session, new_grant: NewGrant) -> None:
    grants = [new_grant() for _ in range(4)]
    session.accept(1, grants, 101.0)
    session.start(101.0)
    assert session.drain() == grants[1:]
    assert session.state == "DRAINING"
    late = new_grant()
    assert session.accept(1, [late], 101.0) == [late]
    assert session.start(101.0) is None
    assert session.running == 1


def test_an_attempt_given_away_is_not_in_heartbeats_but_takes_its_slot(
    session: Session, new_grant: NewGrant
) -> None:
    session.accept(1, [new_grant()], 101.0)
    seat = session.start(101.0)
    assert seat is not None
    seat.voided = True
    assert session.held() == []
    assert session.running == 1
    session.end(seat, 101.25)
    assert session.take_ended() == [Ended(seat.grant.job_id, 1, 250)]
    assert session.seat(seat.key) is None


def test_busy_while_anything_is_in_hand(session: Session, new_grant: NewGrant) -> None:
    assert session.state == "IDLE"
    session.accept(1, [new_grant()], 101.0)
    assert session.state == "BUSY"
    seat = session.start(101.0)
    assert seat is not None
    assert session.state == "BUSY"
    session.end(seat, 102.0)
    assert session.state == "IDLE"
    assert session.running == 0


def beat_until(session: Session, end: float) -> None:
    """A heartbeat every 5 s, the last one at this time."""
    last = session._sent[session.beats]
    for n in range(1, round((end - last) / 5) + 1):
        session.beat(last + 5 * n)


def test_a_session_is_cut_off_when_no_heartbeat_is_confirmed(session: Session) -> None:
    beat_until(session, 700.0)
    assert not session.look(700.0)
    assert session.look(701.0)
    session.confirm(121)
    beat_until(session, 1300.0)
    assert not session.look(1300.0), "counted from the sending of the confirmed heartbeat"
    session.confirm(120)
    session.confirm(9999)
    assert not session.look(1300.0)
    assert session.look(1301.0)
    session.confirm(122)
    assert not session.look(1301.0)


def test_a_machine_that_slept_has_time_to_be_answered(session: Session) -> None:
    session.beat(105.0)
    session.confirm(1)
    assert not session.look(3700.0), "the clock went on, nobody was asked"
    session.beat(3700.0)
    session.beat(3705.0)
    assert not session.look(3709.0)
    assert session.look(3710.0), "awake, and not answered"
    session.confirm(3)
    assert not session.look(3710.0)


def test_a_session_that_is_cut_off_accepts_nothing(session: Session, new_grant: NewGrant) -> None:
    beat_until(session, 700.0)
    assert session.look(701.0)
    n = session.beat(701.0)
    assert session.state == "DRAINING"
    grant = new_grant()
    assert session.accept(n, [grant], 702.0) == [grant]
    session.confirm(n)
    session.look(703.0)
    assert session.state == "IDLE"


def test_an_old_heartbeat_confirms_nothing(session: Session) -> None:
    beat_until(session, 740.0)
    session.confirm(1)
    assert session.look(750.0)


def test_a_session_that_has_said_nothing_is_not_cut_off() -> None:
    new = Session("s", slots=1, look_ahead=0, heartbeat_seconds=5, executors=frozenset())
    assert not new.look(1e9)


class TestExclusive:
    """Its lease lasts 120 s with a grace of 30 s: it is stopped 85 s after the sending of what renewed it."""

    @pytest.fixture
    def seat(self, session: Session, new_grant: NewGrant) -> Seat:
        assert session.accept(1, [new_grant(lease=120.0)], 101.0) == []
        session.beat(105.0)
        seat = session.start(106.0)
        assert seat is not None
        return seat

    def test_it_may_run_from_the_heartbeat_that_its_grant_answers(self, seat: Seat) -> None:
        assert seat.until == 100.0 + 85

    def test_its_own_grace_counts(self, session: Session, new_grant: NewGrant) -> None:
        session.accept(1, [new_grant(lease=92.0, grace=2)], 101.0)
        seat = session.start(101.0)
        assert seat is not None
        assert seat.until == 100.0 + 85

    def test_other_attempts_have_no_such_moment(self, session: Session, new_grant: NewGrant) -> None:
        session.accept(1, [new_grant()], 101.0)
        seat = session.start(101.0)
        assert seat is not None
        session.beat(105.0)
        assert (seat.until, session.confirm(2, [seat.key])) == (None, [])

    def test_a_confirmation_counts_from_the_sending_of_its_heartbeat(
        self, session: Session, seat: Seat
    ) -> None:
        session.beat(110.0)
        session.beat(115.0)
        assert session.confirm(3, [seat.key]) == [seat]
        assert seat.until == 110.0 + 85
        assert session.confirm(4, [seat.key]) == [seat]
        assert session.confirm(3, [seat.key]) == [], "read late"
        assert seat.until == 115.0 + 85

    def test_a_heartbeat_from_before_its_start_renewed_nothing(self, session: Session, seat: Seat) -> None:
        assert session.confirm(2, [seat.key]) == []
        assert seat.until == 100.0 + 85

    def test_the_confirmation_of_others_is_none_of_its_own(self, session: Session, seat: Seat) -> None:
        session.beat(110.0)
        assert session.confirm(3, [("another", 1)]) == []
        assert session.confirm(99, [seat.key]) == [], "never sent"
        assert seat.until == 100.0 + 85

    @pytest.mark.parametrize("seed", range(50))
    def test_however_records_are_late_lost_or_doubled_it_is_dead_before_its_lease_ends(
        self, session: Session, new_grant: NewGrant, seed: int
    ) -> None:
        """The reaper says ok of what is only granted, too, and renews it not."""
        rng = random.Random(seed)
        now = 100.0 + rng.uniform(0, 5)
        ends = now + 120.0
        now += rng.uniform(0, 4)
        assert session.accept(1, [new_grant(lease=120.0)], now) == []
        seat: Seat | None = None
        beats: list[tuple[int, list[Held]]] = [(1, [])]
        answers: list[tuple[int, list[Key]]] = []
        renewed = 0
        for _ in range(200):
            now += rng.uniform(0, 3)
            match rng.randrange(4):
                case 0:
                    beats.append((session.beat(now), session.held()))
                case 1:
                    n, held = rng.choice(beats[-3:])
                    if any(one.phase == "started" for one in held) and now < ends:
                        ends, renewed = max(ends, now + 120.0), renewed + 1
                    answers.append((n, [(one.job_id, one.attempt) for one in held]))
                case 2 if answers:
                    session.confirm(*rng.choice(answers))
                case _:
                    seat = seat or session.start(now)
            if seat is not None:
                assert seat.until is not None
                assert seat.until + 30 + EXCLUSIVE_RESERVE_SECONDS <= ends
        assert renewed
