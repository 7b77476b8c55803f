from __future__ import annotations

from typing import Any

from penstock.events.workers import Heartbeat, Held, Phase, Stop
from penstock_services.reaper import decide


def beat(session: str, n: int, *held: tuple[str, Phase]) -> Heartbeat:
    return Heartbeat(
        session_id=session, n=n, name="r", pool="default", slots=2,
        held=[Held(job_id=job, attempt=1, token=f"t-{job}", phase=phase) for job, phase in held],
    )  # fmt: skip


def answer(
    session: str, job: str, verdict: str = "ok", *, started: bool = True, ending: str | None = None
) -> dict[str, Any]:
    return {
        "session_id": session, "job_id": job, "attempt": 1, "verdict": verdict, "started": started,
        "ending": ending,
    }  # fmt: skip


def test_the_newest_heartbeat_of_each_session_counts() -> None:
    assert decide.newest([beat("b", 1), beat("a", 7), beat("b", 2), beat("b", 1)]) == [
        beat("a", 7),
        beat("b", 2),
    ]


def test_leases_are_judged_only_after_a_ttl_without_a_gap() -> None:
    watch = decide.Watch(ttl_seconds=3)
    assert [watch.tick(at) for at in (0, 1, 2, 3, 4)] == [False, False, False, True, True]
    assert not watch.tick(7), "the loop stood still for three seconds"
    assert [watch.tick(at) for at in (8, 9, 10)] == [False, False, True]
    watch.gap()
    assert [watch.tick(at) for at in (11, 12, 13, 14)] == [False, False, False, True]


def test_a_lost_start_report_is_found_in_the_heartbeat() -> None:
    beats = [
        beat("s", 4, ("a", "started"), ("b", "granted"), ("c", "ended"), ("d", "started"), ("e", "started"))
    ]
    answers = [
        answer("s", "a", started=False),
        answer("s", "b", started=False),
        answer("s", "c", started=False),
        answer("s", "d", "void", started=False),
        answer("s", "e"),
    ]
    assert decide.unstarted(beats, answers) == [
        {"job_id": "a", "token": "t-a"},
    ]


def test_each_session_is_confirmed_also_without_attempts() -> None:
    beats = [beat("s", 4, ("a", "started")), beat("idle", 9)]
    first, second = decide.confirmations(beats, [answer("s", "a", "cancel")])
    assert (first.session_id, first.n, [one.verdict for one in first.renewed]) == ("s", 4, ["cancel"])
    assert (second.session_id, second.n, second.renewed) == ("idle", 9, [])


def test_the_order_to_stop_what_ran_too_long_is_repeated() -> None:
    answers = [answer("s", "a", ending="run-timeout"), answer("s", "b", "cancel", ending="cancelled")]
    (control,) = decide.confirmations([beat("s", 4, ("a", "started"), ("b", "started"))], answers)
    assert control.stop == [Stop("a", 1, "run-timeout")]
    assert [one.verdict for one in control.renewed] == ["ok", "cancel"]


def test_orders_to_stop_are_one_record_a_session() -> None:
    rows = [
        {"session_id": session, "job_id": job, "attempt": 2, "reason": reason}
        for session, job, reason in (
            ("t", "a", "run-timeout"),
            ("s", "b", "cancelled"),
            ("t", "c", "cancelled"),
        )
    ]
    assert [(one.session_id, one.stop) for one in decide.stops(rows)] == [
        ("s", [Stop("b", 2, "cancelled")]),
        ("t", [Stop("a", 2, "run-timeout"), Stop("c", 2, "cancelled")]),
    ]


def test_a_usual_share_of_leases_is_taken_back_at_once() -> None:
    breaker = decide.Breaker(500)
    assert [breaker.batch(*counts) for counts in ((0, 0), (99, 99), (500, 1000), (5000, 10_000))] == [500] * 4


def test_a_large_share_waits_and_comes_back_by_halves() -> None:
    breaker = decide.Breaker(500)
    wait = [0] * decide.FIRST_WAIT_SCANS
    taken = [breaker.batch(900, 1000) for _ in range(len(wait) + 9)]
    assert taken == [*wait, 250, 0, 125, 0, 62, 0, 62, 0, 62]
    assert breaker.batch(400, 1000) == 500, "they were heard of again"
    assert breaker.batch(900, 1000) == 0


def test_held_attempts_are_ordered_by_job() -> None:
    rows = decide.held_rows([beat("s", 1, ("b", "started")), beat("t", 1, ("a", "granted"))])
    assert [row["job_id"] for row in rows] == ["a", "b"]
