"""Why a job is in its state, in words and facts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from penstock_services.gateway.explanation import explanation
from penstock_services.gateway.views import Explanation

NOW, THEN = "2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:01.000000Z"
HOLDER = "0190c0de-0000-7000-8000-000000000003"


def facts(state: str = "QUEUED", **more: Any) -> dict[str, Any]:
    known = {
        "job_id": "j", "pipeline_id": "p", "name": "test", "state": state, "pool": "gpu", "lane": "normal",
        "terminal": state in ("SUCCESS", "FAILED", "CANCELLED", "SKIPPED"), "reason": None, "exit_code": None,
        "changed_at": THEN, "queued_at": THEN, "now": NOW, "why": None, "worker": None, "worker_name": None,
        "assigned_at": None, "started_at": None, "retry_at": None, "unmet": 0,
    }  # fmt: skip
    return {**known, **more}


def told(**given: Any) -> tuple[str | None, str]:
    found = msgspec.convert(explanation(facts(**given)), Explanation)
    return found.reason, found.text


@pytest.mark.parametrize(
    ("ahead", "taken", "text"),
    [
        (0, 0, "position 1 in lane normal of pool gpu, no job before it; 0 of 8 slots are taken"),
        (1, 8, "position 1 in lane normal of pool gpu, 1 job before it; 8 of 8 slots are taken"),
        (2000, 8, "position 1 in lane normal of pool gpu, 2,000 jobs before it; 8 of 8 slots are taken"),
        (10_000, 8, "position 1 in lane normal of pool gpu, 10,000 jobs or more before it; 8 of 8 slots"
                     " are taken"),
    ],
)  # fmt: skip
def test_a_place_in_the_queue(ahead: int, taken: int, text: str) -> None:
    given = facts(ahead=ahead, position=1, runners=1, slots=8, taken=taken)
    found = explanation(given)
    assert (found["reason"], found["text"], found["at"]) == ("queue", text, NOW)
    assert (found["position"], found["ahead"]) == (1, ahead)
    assert found["detail"] == {"runners": 1, "slots": 8, "taken": taken}


def test_a_queue_without_runners_and_one_on_its_way_into_it() -> None:
    room = {"runners": 0, "slots": 0, "taken": 0}
    assert told(ahead=0, position=1, **room)[1].endswith("; no runner is there")
    found = explanation(facts(**room))
    assert (found["text"], "position" in found) == ("it is being put into the queue", False)


def test_what_its_dispatcher_said_with_the_holders_name() -> None:
    text = f"lock db (exclusive) is held by job {HOLDER} since {THEN}"
    why = {"reason": "lock", "text": text, "detail": {"name": "db", "held_by": HOLDER}, "at": THEN}
    holder = {"job_id": HOLDER, "name": "deploy", "pipeline_id": "q", "pipeline": "shop"}
    found = explanation(facts(why=why, holder=holder))
    assert found["text"] == (
        f"lock db (exclusive) is held by job deploy of pipeline shop ({HOLDER}) since {THEN}"
    )
    assert found["detail"] == {"name": "db", "held_by": HOLDER, "holder": holder}
    assert (found["reason"], found["at"], "position" in found) == ("lock", THEN, False)
    assert why["detail"] == {"name": "db", "held_by": HOLDER}


def test_who_holds_it_by_now_is_named_in_place_of_who_did() -> None:
    before = "0190c0de-0000-7000-8000-000000000004"
    holder = {"job_id": HOLDER, "name": "deploy", "pipeline_id": "q", "pipeline": "shop", "since": NOW}
    for said in (f"held by job {before} since {THEN}", f"wanted first by job {before}"):
        why = {"reason": "lock", "text": f"lock db (shared) is {said}", "detail": {"held_by": before}}
        found = explanation(facts(why=why, holder=holder))
        assert found["text"] == (
            f"lock db (shared) is held by job deploy of pipeline shop ({HOLDER}) since {NOW}"
        )
        assert found["detail"] == {"held_by": HOLDER, "since": NOW, "holder": holder}


def test_a_group_is_held_by_a_pipeline() -> None:
    text = f"concurrency group deploy is held by pipeline {HOLDER}"
    why = {"reason": "group", "text": text, "detail": {"held_by": HOLDER}, "at": THEN}
    assert told(why=why, holder={"pipeline_id": HOLDER, "pipeline": "shop"})[1] == (
        f"concurrency group deploy is held by pipeline shop ({HOLDER})"
    )
    assert told(why=why, holder=None) == ("group", text), "it has ended meanwhile"


def test_a_reason_without_facts() -> None:
    why = {"reason": "later", "text": "a reason of a later release"}
    assert told(why=why, holder=None) == ("later", "a reason of a later release")


def test_what_is_not_queued_yet() -> None:
    needs = [{"job_id": str(n), "name": f"n{n}", "state": "RUNNING"} for n in range(7)]
    assert told(state="PENDING", needs=needs[:2], unmet=2) == ("needs", "it needs n0, n1 to end first")
    assert (
        told(state="PENDING", needs=needs, unmet=7)[1]
        == "it needs n0, n1, n2, n3, n4 and 2 more to end first"
    )
    assert told(state="PENDING", needs=needs * 15, unmet=105)[1].endswith("and 100 more to end first")
    assert told(state="PENDING", needs=[])[1] == "all that it needs has ended: it is being decided"
    assert told(state="RETRYING", retry_at=NOW) == ("retry", f"it is tried again at {NOW}")
    assert told(state="RETRYING") == ("retry", "it is about to be tried again")
    assert told(state="WAITING") == ("approval", "it waits for its approval")


def test_what_somebody_has() -> None:
    living = {"worker": "session", "worker_name": "box", "assigned_at": THEN}
    assert told(state="ASSIGNED", **living) == (None, f"box has it since {THEN} and is about to start it")
    assert told(state="RUNNING", **living, started_at=NOW) == (None, f"it runs on box since {NOW}")
    assert told(state="CANCELLING", **living, started_at=NOW) == (None, "it is being stopped on box")
    assert told(state="RUNNING", worker="session", started_at=NOW)[1] == f"it runs on session since {NOW}"


def test_what_ended() -> None:
    assert told(state="SUCCESS", exit_code=0) == (None, f"it ended as SUCCESS at {THEN}")
    assert told(state="FAILED", reason="exit-code", exit_code=3) == (
        "exit-code", f"it ended as FAILED at {THEN}, exit-code, exit code 3",
    )  # fmt: skip
