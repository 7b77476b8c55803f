"""Every check finds a history that is bad in its way: each is the good one, spoiled in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import orjson
import pytest
from tests.unit.testing.history.making import BUILD, RUNNERS, good, identity

from penstock.events import topics
from penstock.testing.history import History, verdict
from penstock.testing.history.checks import CHECKS
from penstock.testing.history.facts import Facts
from penstock.testing.history.past import Ask, Fault, LogLine, Peek, Run, Survivor, TopicRecord, Wish

JOBS, PIPELINES = topics.JOBS_STATUS.name, topics.PIPELINES_STATUS.name
GRANTS, CONTROL, REPORTS = topics.WORKERS_GRANTS.name, topics.WORKERS_CONTROL.name, topics.JOBS_REPORTS.name
READY = topics.JOBS_READY["normal"].name
A, B, C, N = (identity(name) for name in ("build/a", "build/b", "build/c", "nightly/n"))
NIGHTLY = identity("nightly")
LONG_AGO = 1_600_000_000.0


class Bad(NamedTuple):
    """What `spoil` does to the good history is found by `check`, in these words."""

    check: str
    words: str
    spoil: Callable[[History], Any]


def job(history: History, job_id: str) -> dict[str, Any]:
    return next(row for row in history.books.jobs if row["id"] == job_id)


def pipeline(history: History, name: str) -> dict[str, Any]:
    return next(row for row in history.books.pipelines if row["name"] == name)


def versions(history: History, job_id: str) -> list[dict[str, Any]]:
    return [row for row in history.books.job_transitions if row["job_id"] == job_id]


def attempt(history: History, job_id: str, number: int = 1) -> dict[str, Any]:
    rows = history.books.attempts
    return next(row for row in rows if (row["job_id"], row["attempt"]) == (job_id, number))


def records(history: History, topic: str) -> list[TopicRecord]:
    assert history.topics is not None
    return history.topics.setdefault(topic, [])


def publish(history: History, topic: str, key: str = "", **value: Any) -> None:
    records(history, topic).append(TopicRecord(0, 99, key, orjson.dumps(value).decode()))


def change(history: History, topic: str, number: int, **values: Any) -> None:
    record = records(history, topic)[number]
    record.value = orjson.dumps({**orjson.loads(record.value), **values}).decode()


def grant(history: History, job_id: str, number: int, **more: Any) -> None:
    granted = {"job_id": job_id, "attempt": number, "token": "t", "tenant": "default", **more}
    publish(history, GRANTS, session_id=RUNNERS["runner-1"], n=1, grants=[granted])


def without(rows: list[Any], *keys: tuple[str, Any]) -> None:
    """Take out the rows that have all of these values."""
    rows[:] = [row for row in rows if any(row[name] != value for name, value in keys)]


def run(history: History, job_id: str, number: int = 1) -> Run:
    assert history.runs is not None
    return history.runs[job_id, number][0]


def stay(history: History, job_id: str, state: str, **more: Any) -> None:
    """The job is still in this state, and so is its pipeline."""
    row = job(history, job_id)
    row.update(state=state, reason=None, **more)
    history.books.open_pipelines.append({"pipeline_id": row["pipeline_id"], "remaining": 1})


def move_commit(history: History, job_id: str, state: str, by: int) -> None:
    for row in versions(history, job_id):
        if row["state"] == state:
            row["committed"] += by


def lines(history: History) -> list[LogLine]:
    assert history.logs is not None
    return history.logs[A, 1].lines


def census(history: History, **values: int) -> None:
    assert history.samples is not None
    history.samples[0].census = msgspec.structs.replace(history.samples[0].census, **values)


def no_faults(history: History) -> None:
    assert history.faults is not None
    history.faults.clear()


def started_too_late(history: History) -> None:
    """Its process had begun."""
    no_faults(history)
    next(row for row in versions(history, C) if row["reason"] == "worker-lost")["reason"] = "start-timeout"


def granted_too_late(history: History) -> None:
    """In virtual time no machine is busy."""
    started_too_late(history)
    history.runs = None
    history.terms = type(history.terms)(virtual=True)
    history.healed_at = LONG_AGO


def lost_alone_long_after(history: History) -> None:
    """An exclusive lease is over, too."""
    job(history, C).update(exclusive=True, grace=1.0)
    history.terms = type(history.terms)(exclusive_seconds=5.0)
    history.healed_at = LONG_AGO


def wish(history: History, wanted: list[Any], *job_ids: str) -> None:
    """These jobs held it."""
    for job_id in job_ids:
        job(history, job_id)["holds"] = [wanted]


def two_in_a_group(history: History) -> None:
    """The second entered before the first one had ended."""
    wish(history, ["group", "g", 1], A, N)
    pipeline(history, "build")["finished_at"] = None


def hold(job_id: str) -> dict[str, Any]:
    return {"tenant": "default", "kind": "lock", "name": "db", "holder": job_id, "job_id": job_id, "most": 1}


def zombie_alone(history: History) -> None:
    """Its runner was thought dead, and nothing has stopped it; no second run may be begun meanwhile."""
    job(history, C).update(exclusive=True)
    run(history, C).ended_at = run(history, C).started_at + 30.0


def fault(history: History) -> Fault:
    assert history.faults is not None
    return history.faults[0]


def sessions_token_twice(history: History) -> None:
    token = orjson.loads(records(history, GRANTS)[0].value)["grants"][0]["token"]
    change_grant(history, 1, token=token)


def change_grant(history: History, number: int, **values: Any) -> None:
    value = orjson.loads(records(history, GRANTS)[number].value)
    value["grants"][0].update(values)
    change(history, GRANTS, number, grants=value["grants"])


def change_report(history: History, number: int, **values: Any) -> None:
    value = orjson.loads(records(history, REPORTS)[number].value)
    value["reports"][0].update(values)
    change(history, REPORTS, number, reports=value["reports"])


def lost_pipeline(history: History) -> None:
    history.asks.append(Ask(key="lost", definition=BUILD, outcome="ok"))


def lost_job(history: History) -> None:
    without(history.books.jobs, ("id", A))


def twice(history: History) -> None:
    history.books.pipelines.append({**pipeline(history, "build"), "id": identity("again")})


def claimed_again(history: History) -> None:
    claim = next(row for row in versions(history, N) if row["state"] == "ASSIGNED")
    history.books.job_transitions.append({**claim, "version": 9, "attempt": 2})


def overlooked(history: History) -> None:
    """The cancel did not touch the job, which is claimed seconds later."""
    without(history.books.job_transitions, ("job_id", N), ("state", "CANCELLING"))
    claim = next(row for row in versions(history, N) if row["state"] == "ASSIGNED")
    claim.update(committed=claim["committed"] + 50, at="2030-01-01T00:00:00+00:00")


BADS: Final = (
    Bad("lost", "lost: build (lost)", lost_pipeline),
    Bad("lost", "has the jobs ['b', 'c', 'd']", lost_job),
    Bad("unfinished", "is RUNNING, and nothing more happens", lambda h: job(h, A).update(state="RUNNING")),
    Bad("unfinished", "nightly (", lambda h: pipeline(h, "nightly").update(finished_at=None)),
    Bad("unfinished", "did not come to rest", lambda h: setattr(h, "rested_at", None)),
    Bad("recovers", "s after the last fault", lambda h: setattr(h, "healed_at", LONG_AGO)),
    Bad("duplicated", "key-build exists 2 times", twice),
    Bad("duplicated", "a client was told ['x']", lambda h: h.asks[0].pipeline_ids.append("x")),
    Bad("duplicated", "means x, and is", lambda h: h.books.requests[0].update(pipeline_id="x")),
    Bad("unexpected", "nobody asked for key-nightly", lambda h: h.asks.pop(1)),
    Bad("unexpected", "was refused, and is there", lambda h: setattr(h.asks[0], "outcome", "fail")),
    Bad("unexpected", "was refused 1 times, 0 of its requests were wrong", lambda h: h.asks.pop(2)),
    Bad("conserved", "there are 5 jobs, 6 were accepted", lambda h: census(h, accepted=6)),
    Bad("conserved", "the versions add up to", lambda h: census(h, versions=1)),
    Bad("conserved", "0 jobs are not over, their pipelines count 2", lambda h: census(h, open=2)),
    Bad("counted", "says {'SUCCESS': 9}", lambda h: pipeline(h, "build").update(counts={"SUCCESS": 9})),
    Bad(
        "moves",
        "version 2 is 3",
        lambda h: without(h.books.job_transitions, ("job_id", A), ("version", 2)),
    ),
    Bad(
        "moves", "version 2 goes from QUEUED to RUNNING", lambda h: versions(h, A)[1].update(state="RUNNING")
    ),
    Bad("moves", "its history ends in SUCCESS", lambda h: job(h, A).update(version=9)),
    Bad(
        "moves",
        "is FAILED, its history ends in SUCCESS",
        lambda h: pipeline(h, "build").update(state="FAILED"),
    ),
    Bad(
        "moves",
        "goes from SUCCESS to SUCCESS",
        lambda h: h.books.pipeline_transitions.append(
            {
                **next(r for r in h.books.pipeline_transitions if r["state"] == "SUCCESS"),
                "version": 4,
                "previous": "SUCCESS",
            }
        ),
    ),
    Bad("orphans", "has a history and no row", lost_job),
    Bad("orphans", "has a history and no row", lambda h: without(h.books.pipelines, ("name", "nightly"))),
    Bad("claims", "claims [1, 2], attempt 3", lambda h: job(h, B).update(attempt=3)),
    Bad("claims", "ends of [2]", lambda h: without(h.books.attempts, ("job_id", B), ("attempt", 1))),
    Bad("claims", "is RUNNING in attempt 7", lambda h: versions(h, A)[2].update(attempt=7)),
    Bad("owners", "was granted as", lambda h: grant(h, A, 1)),
    Bad("owners", "was granted and never claimed", lambda h: grant(h, A, 2)),
    Bad(
        "owners",
        "to another session than claimed for",
        lambda h: change(h, GRANTS, 0, session_id=RUNNERS["runner-1"]),
    ),
    Bad("owners", "was given 2 times", sessions_token_twice),
    Bad(
        "accepted_reports", "did not tell, under another token", lambda h: change_report(h, 0, token="stale")
    ),
    Bad(
        "accepted_reports",
        "ended SUCCESS with 0, which its runner did",
        lambda h: change_report(h, 0, exit_code=1),
    ),
    Bad("accepted_reports", "which its runner did not tell", lambda h: change_report(h, 0, success=False)),
    Bad(
        "settled_truly",
        "was settled as accepted, and was not",
        lambda h: publish(h, CONTROL, session_id="s", settled=[[C, 1, "ended", True]]),
    ),
    Bad(
        "late_is_nothing",
        "in time, and too late",
        lambda h: attempt(h, A).update(late="started", late_at=attempt(h, A)["ended_at"]),
    ),
    Bad("ends_are_kept", "is kept as FAILED", lambda h: attempt(h, A).update(state="FAILED")),
    Bad(
        "ends_are_kept",
        "is kept as runner-1's",
        lambda h: attempt(h, A).update(session_id=RUNNERS["runner-1"]),
    ),
    Bad("runs_once", "is started 2 times", lambda h: h.runs[A, 1].append(run(h, A))),
    Bad("runs_once", "#3: ran, and was never claimed", lambda h: h.runs.update({(A, 3): [run(h, A)]})),
    Bad(
        "never_at_once",
        "saw another run of its job alive",
        lambda h: setattr(run(h, B, 2), "overlapped_at", LONG_AGO),
    ),
    Bad("never_at_once", "s before #1 was over", lambda h: setattr(run(h, B), "ended_at", h.rested_at)),
    Bad("never_at_once", "s before #1 was over", lambda h: setattr(run(h, B, 2), "started_at", LONG_AGO)),
    Bad("never_at_once", "s before #1 was over", zombie_alone),
    Bad("ran_as_told", "SUCCESS, but it ended with [1]", lambda h: setattr(run(h, A), "exit_code", 1)),
    Bad("ran_as_told", "SUCCESS, but it ended with [None]", lambda h: setattr(run(h, A), "exit_code", None)),
    Bad("ran_as_told", "SUCCESS, but it never ran", lambda h: h.runs.pop((A, 1))),
    Bad("ran_as_told", "exit-code 3, but it ended with [4]", lambda h: setattr(run(h, B), "exit_code", 4)),
    Bad("tries", "2 tries, 0 retries allowed", lambda h: job(h, B).update(retry_max=0)),
    Bad("tries", "5 tries were lost to us", lambda h: job(h, C).update(infra_tries=5)),
    Bad(
        "tries",
        "FAILED by exit-code after 1",
        lambda h: job(h, B).update(state="FAILED", reason="exit-code", tries=1),
    ),
    Bad("tries", "FAILED by worker-lost", lambda h: job(h, C).update(state="FAILED", reason="worker-lost")),
    Bad(
        "tries", "FAILED by start-refused", lambda h: job(h, C).update(state="FAILED", reason="start-refused")
    ),
    Bad(
        "tries",
        "FAILED by dependency-failed",
        lambda h: job(h, C).update(state="FAILED", reason="dependency-failed"),
    ),
    Bad("order", "was claimed before a (", lambda h: move_commit(h, A, "SUCCESS", 50)),
    Bad("processes_in_order", "started before a (", lambda h: setattr(run(h, B), "started_at", LONG_AGO)),
    Bad(
        "queued_once",
        "was set free by its needs more than once",
        lambda h: next(row for row in versions(h, B) if row["previous"] == "RETRYING").update(
            previous="PENDING"
        ),
    ),
    Bad(
        "ends",
        "should be SKIPPED condition-false",
        lambda h: job(h, identity("build/d")).update(state="SUCCESS", reason=None),
    ),
    Bad("ends", "b (", lambda h: job(h, B).update(state="SKIPPED", reason="dependency-failed")),
    Bad("ends", "CANCELLED, which nobody asked for", lambda h: h.wishes.clear()),
    Bad("ends", "CANCELLED, which nobody asked for", lambda h: setattr(h.wishes[0], "outcome", "fail")),
    Bad("ends", "FAILED, should be SUCCESS", lambda h: pipeline(h, "build").update(state="FAILED")),
    Bad("cancelled_stays", "claimed after its pipeline was cancelled", claimed_again),
    Bad("cancelled_stays", "claimed after its pipeline was cancelled", overlooked),
    Bad(
        "cancelled_stays",
        "was CANCELLING and is SUCCESS",
        lambda h: versions(h, N)[-1].update(state="SUCCESS"),
    ),
    Bad(
        "cancels_apply", "its cancel was never applied", lambda h: h.books.cancels[0].update(applied_at=None)
    ),
    Bad("cancels_apply", "was accepted and is lost", lambda h: h.books.cancels.clear()),
    Bad(
        "cancels_apply",
        "the cancel of n (",
        lambda h: h.wishes.append(Wish(pipeline_id=NIGHTLY, job_id=N, outcome="ok")),
    ),
    Bad(
        "survivors",
        "process 42 lives on: sleep",
        lambda h: h.survivors.append(Survivor(N, 1, 42, 0.0, "sleep")),
    ),
    Bad(
        "leftovers",
        "has a row left in timers (retry)",
        lambda h: h.books.timers.append({"job_id": B, "kind": "retry"}),
    ),
    Bad("leftovers", "build (", lambda h: h.books.open_pipelines.append({"pipeline_id": identity("build")})),
    Bad(
        "leftovers",
        "a row of reaper-0",
        lambda h: h.books.outbox.append({"id": "o", "actor": "reaper-0", "created_at": "now"}),
    ),
    Bad("leftovers", "still has a token", lambda h: job(h, A).update(token="t")),
    Bad("stranded", "PENDING, and all its needs have ended", lambda h: stay(h, B, "PENDING")),
    Bad("stranded", "QUEUED, and not in the queue", lambda h: stay(h, B, "QUEUED")),
    Bad("stranded", "RETRYING, and without a timer", lambda h: stay(h, B, "RETRYING")),
    Bad("stranded", "RUNNING, and without a lease", lambda h: stay(h, B, "RUNNING")),
    Bad("stranded", "its pipeline is not open", lambda h: job(h, A).update(state="RUNNING")),
    Bad(
        "stranded",
        "RUNNING, and its lease is over",
        lambda h: (
            stay(h, B, "RUNNING"),
            h.books.leases.append({"job_id": B, "expires_at": "2020-01-01T00:00:00+00:00"}),
        ),
    ),
    Bad(
        "requests_wait",
        "was received and never applied",
        lambda h: h.books.requests[0].update(state="RECEIVED"),
    ),
    Bad(
        "replayed",
        "changed: no longer there: jobs",
        lambda h: setattr(h.replays[0], "difference", "no longer there: jobs {}"),
    ),
    Bad("complete", f"{JOBS} lacks version 1, QUEUED", lambda h: records(h, JOBS).pop(0)),
    Bad("complete", f"{PIPELINES} lacks version 1, PENDING", lambda h: records(h, PIPELINES).pop(0)),
    Bad(
        "complete",
        "has version 9, SUCCESS, which is not so",
        lambda h: change(h, JOBS, 0, version=9, state="SUCCESS"),
    ),
    Bad(
        "complete",
        "has version 1, FAILED, which is not so",
        lambda h: publish(h, PIPELINES, "x", pipeline_id="x", version=1, state="FAILED"),
    ),
    Bad(
        "phantoms",
        "has it, and it was never QUEUED",
        lambda h: publish(h, READY, jobs=[{"job_id": identity("build/d")}]),
    ),
    Bad("equal_copies", "tries is 5, was 0", lambda h: change(h, JOBS, 0, tries=5)),
    Bad("equal_copies", "at is", lambda h: change(h, JOBS, 0, at="2020-01-01T00:00:00.000000Z")),
    Bad("peeks_agree", "saw version 4 of", lambda h: h.peeks.append(Peek("p", A, 1, "QUEUED", 0.0))),
    Bad("peeks_agree", "which never was", lambda h: h.peeks.append(Peek("q", A, 2, "FAILED", 0.0))),
    Bad(
        "dead_letters",
        "dead letter of penstock.jobs.reports",
        lambda h: publish(h, topics.dlq_of(REPORTS), kind="report"),
    ),
    Bad("poison_is_kept", "the poison poison-1", lambda h: records(h, topics.dlq_of(REPORTS)).clear()),
    Bad("peeks_agree", "before it was", lambda h: setattr(h.peeks[1], "at", LONG_AGO)),
    Bad(
        "phantoms",
        "was ordered to stop, and never CANCELLING",
        lambda h: publish(h, CONTROL, session_id="s", stop=[{"job_id": A, "attempt": 1}]),
    ),
    Bad(
        "acked_lines",
        "was told that 3 lines are stored, 2 are",
        lambda h: publish(h, CONTROL, session_id="s", stored=[[A, 1, 3]]),
    ),
    Bad(
        "acked_lines",
        "was told that 2 lines are stored, 0 are",
        lambda h: (
            without(h.books.log_chunks, ("job_id", A)),
            publish(h, CONTROL, session_id="s", stored=[[A, 1, 2]]),
        ),
    ),
    Bad("lag", "penstock-advancer lags 3", lambda h: h.lag.update({"penstock-advancer": 3})),
    Bad("peace", "worker-lost when nothing fails", lambda h: setattr(h, "healed_at", LONG_AGO)),
    Bad("peace", "worker-lost when nothing fails", lost_alone_long_after),
    Bad("causes", "worker-lost, and nothing was broken", no_faults),
    Bad("causes", "start-timeout, and nothing was broken", started_too_late),
    Bad("peace", "start-timeout when nothing fails", granted_too_late),
    Bad(
        "causes",
        "all that was broken is ['kill']",
        lambda h: setattr(h, "terms", type(h.terms)(spared=frozenset(("kill",)))),
    ),
    Bad(
        "dead_in_time",
        "s after its runner fell silent",
        lambda h: setattr(h, "terms", type(h.terms)(ttl_seconds=1.0)),
    ),
    Bad(
        "dead_in_time",
        "2.1 s are allowed",
        lambda h: (
            job(h, C).update(exclusive=True, grace=0.1),
            setattr(h, "terms", type(h.terms)(exclusive_seconds=0.5)),
        ),
    ),
    Bad(
        "bounded",
        "its timeout is 0.01 s",
        lambda h: (
            job(h, A).update(timeout=0.01, grace=0.01),
            attempt(h, A).update(started_at="2020-01-01T00:00:00+00:00"),
        ),
    ),
    Bad("whole", "has a log, and was never claimed", lambda h: h.logs.update({(A, 9): h.logs[A, 1]})),
    Bad("whole", "line 1 is 2", lambda h: lines(h).pop(0)),
    Bad("whole", "line 3 is 2", lambda h: lines(h).append(lines(h)[-1])),
    Bad("whole", "its log has no end", lambda h: setattr(h.logs[A, 1], "ended", False)),
    Bad("whole", "4 lines of its log are missing", lambda h: setattr(h.logs[A, 1], "missing", 4)),
    Bad(
        "own_lines",
        "line 2 of its log is",
        lambda h: lines(h).__setitem__(1, LogLine(2, "stdout", lines(h)[1].text.replace(":1:", ":2:"))),
    ),
    Bad("own_lines", "is stdout 2, not 1", lambda h: lines(h).reverse()),
    Bad("all_lines", "printed 2 lines, 1 are stored", lambda h: lines(h).pop()),
    Bad("all_lines", "printed 2 lines, 0 are stored", lambda h: h.logs.pop((A, 1))),
    Bad(
        "index",
        "line 2 of its log is stored twice",
        lambda h: h.books.log_chunks.append({**h.books.log_chunks[0], "first_seq": 2, "last_seq": 3}),
    ),
    Bad("index", "its head says 5 up to 2", lambda h: h.books.log_heads[0].update(lines=5)),
    Bad("rows", "is other's, its pipeline default's", lambda h: job(h, A).update(tenant="other")),
    Bad("rows", "version 1 is other's", lambda h: versions(h, A)[0].update(tenant="other")),
    Bad("rows", "was cancelled by other", lambda h: h.books.cancels[0].update(tenant="other")),
    Bad(
        "rows",
        "is default's, and other was told of it",
        lambda h: h.asks.append(
            Ask(key="k", definition=BUILD, tenant="other", outcome="fail", pipeline_ids=[NIGHTLY])
        ),
    ),
    Bad("logs", "its log is other's", lambda h: h.books.log_heads[0].update(tenant="other")),
    Bad("logs", "its log lies at", lambda h: h.books.log_chunks[0].update(object_key="logs/other/x")),
    Bad("records", "is other's", lambda h: change(h, JOBS, 0, tenant="other")),
    Bad("records", "has the key x", lambda h: setattr(records(h, PIPELINES)[0], "key", "x")),
    Bad("records", "penstock.workers.grants is other's", lambda h: change_grant(h, 0, tenant="other")),
    Bad(
        "held_by_few",
        "holds lock db as one of 2, 1 may",
        lambda h: job(h, C).update(holds=[["lock", "db", 2]]),
    ),
    Bad("held_by_few", "holds matrix", lambda h: wish(h, ["matrix", "m", 1], A, C)),
    Bad("held_by_few", "holds group g as one of 2, 1 may", two_in_a_group),
    Bad(
        "runs_apart",
        "runs with lock db as one of 2",
        lambda h: job(h, C).update(holds=[["lock", "db", None]]),
    ),
    Bad("held_for_somebody", "lock db is held, and", lambda h: h.books.holds.append(hold(A))),
    Bad(
        "held_for_somebody",
        "is in group g",
        lambda h: h.books.concurrency_groups.append(
            {"tenant": "default", "name": "g", "pipeline_id": NIGHTLY}
        ),
    ),
    Bad("bites", "no fault bit", no_faults),
    Bad("bites", "no fault bit", lambda h: setattr(fault(h), "bit", 0)),
    Bad("bites", "lasted beyond the healing", lambda h: setattr(fault(h), "off", None)),
    Bad("works", "nothing was asked for", lambda h: setattr(h, "asks", [])),
    Bad("works", "no job ended well", lambda h: [row.update(state="CANCELLED") for row in h.books.jobs]),
    *(
        Bad("evidence", f"nothing is in {part}", lambda h, part=part: getattr(h, part).clear())
        for part in ("topics", "logs", "peeks", "samples", "replays", "lag")
    ),
    Bad("evidence", "not one record was told once more", lambda h: setattr(h.replays[0], "records", 0)),
)


@pytest.mark.parametrize("bad", BADS, ids=lambda bad: f"{bad.check}-{bad.words[:30]}")
def test_a_bad_history_is_found(bad: Bad) -> None:
    history = good()
    bad.spoil(history)
    (check,) = [check for check in CHECKS if check.find.__name__ == bad.check]
    found = [finding.text for finding in check.find(Facts(history))]
    assert any(bad.words in text for text in found), found
    judged = verdict(history).of(check.invariant)
    assert judged.state == "broken"
    assert judged.found >= len(found)


def test_every_check_has_a_bad_history() -> None:
    assert {check.find.__name__ for check in CHECKS} == {bad.check for bad in BADS}
    assert len({check.find.__name__ for check in CHECKS}) == len(CHECKS)
