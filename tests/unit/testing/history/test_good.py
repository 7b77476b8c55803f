"""A good history is left alone, whatever of it was recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from tests.unit.testing.history.making import BUILD, NIGHTLY, good, identity

from penstock.testing.history import History, verdict
from penstock.testing.history.past import Ask, Fault, Peek, Poison, Run, Wish


def test_a_good_history_holds() -> None:
    found = verdict(good())
    assert found.problems == []
    assert found.held
    assert {one.state for one in found.invariants} == {"held"}


@pytest.mark.parametrize("part", ["topics", "runs", "faults", "logs", "peeks", "samples", "replays", "lag"])
def test_what_was_not_recorded_is_not_judged(part: str) -> None:
    found = verdict(msgspec.structs.replace(good(), **{part: None}))
    assert found.problems == []
    assert any(part in one.lacks for one in found.invariants)


def never_seen(history: History) -> None:
    """Nobody knows, and it is not there; or it was refused, and is not there."""
    history.asks.append(Ask(key="lost on its way", definition=BUILD, outcome="info"))
    history.asks.append(Ask(key="too large", definition=BUILD, expect="rejected", outcome="fail"))
    history.wishes.append(Wish(pipeline_id=identity("build"), outcome="info"))
    history.poison.append(Poison(topic="penstock.jobs.reports", mark="never came", outcome="info"))


def without_processes(history: History) -> None:
    """An executor that starts none."""
    history.books.jobs[0].update(executor="noop")
    assert history.runs is not None
    job_id = history.books.jobs[0]["id"]
    history.runs = {key: runs for key, runs in history.runs.items() if key[0] != job_id}


def zombie(history: History) -> None:
    """The process of an attempt that was taken back ends well, long after."""
    assert history.runs is not None
    run: Run = history.runs[identity("build/c"), 1][0]
    run.ended_at, run.exit_code, run.lines = run.started_at + 30.0, 0, 5


def killed_alone(history: History) -> None:
    """An exclusive job is lost with its runner, whose guard kills it: no end, and nobody is seen alive.

    Its lease is longer than that of others.
    """
    next(row for row in history.books.jobs if row["name"] == "c").update(exclusive=True, grace=1.0)
    history.terms = type(history.terms)(ttl_seconds=1.0, exclusive_seconds=5.0)


def never_started(history: History) -> None:
    """On a busy machine a grant comes so late that its lease is over; nothing was broken."""
    assert history.runs is not None
    row = next(row for row in history.books.job_transitions if row["reason"] == "worker-lost")
    row["reason"] = "start-timeout"
    del history.runs[row["job_id"], 1]
    history.faults = [Fault(kind="cut", target="s3", on=1.0, off=2.0, bit=1)]
    history.topics = None


def missed(history: History) -> None:
    """A fault that found nothing to bite."""
    assert history.faults is not None
    history.faults.append(Fault(kind="cut", target="s3", on=1.0, off=2.0))


def letters_lost(history: History) -> None:
    """Kafka was wiped after the poison had come, and with it the dead letters."""
    assert history.faults is not None
    assert history.topics is not None
    history.faults.append(Fault(kind="F4 kafka wiped", target="kafka", on=1.7e9, off=1.7e9 + 1, bit=1))
    history.topics["penstock.jobs.reports.dlq"].clear()
    history.topics["penstock.jobs.reports"].clear()
    history.topics["penstock.workers.grants"].clear()


def told_twice(history: History) -> None:
    """Records are published again, word for word."""
    assert history.topics is not None
    for records in history.topics.values():
        records.extend(records[:3])


def seen_twice(history: History) -> None:
    """Two pollers, of which one is behind the other."""
    assert history.peeks is not None
    last = history.peeks[-1]
    history.peeks += [Peek("q", last.subject, 1, "QUEUED", last.at), last]


def run_again(history: History) -> None:
    """A rerun takes the end of a job over, which was claimed elsewhere."""
    at, of = history.books.read_at, identity("again")
    pipeline = {**next(row for row in history.books.pipelines if row["name"] == "nightly"), "id": of}
    pipeline.update(name="again", request_id="rerun", state="SUCCESS", reason=None, counts={"SUCCESS": 1})
    history.books.pipelines.append(pipeline)
    job = {**next(row for row in history.books.jobs if row["name"] == "a"), "id": identity("again/n")}
    job.update(pipeline_id=of, name="n", reason="reused", version=1, previous=None)
    history.books.jobs.append(job)
    first = {**history.books.job_transitions[0], "job_id": job["id"], "pipeline_id": of, "name": "n"}
    first.update(state="SUCCESS", previous=None, version=1, reason="reused", terminal=True, at=at)
    history.books.job_transitions.append(first)
    states = ((1, None, "PENDING"), (2, "PENDING", "SUCCESS"))
    for version, previous, state in states:
        row = {**history.books.pipeline_transitions[0], "pipeline_id": of, "at": at, "reason": None}
        history.books.pipeline_transitions.append(
            {**row, "version": version, "previous": previous, "state": state}
        )
    pipeline["version"] = 2
    history.asks.append(Ask(key="rerun", definition=NIGHTLY, outcome="ok", rerun_of=identity("nightly")))
    history.topics = history.samples = None


GOOD: Final[tuple[Callable[[History], Any], ...]] = (
    never_seen,
    without_processes,
    zombie,
    killed_alone,
    never_started,
    missed,
    letters_lost,
    told_twice,
    seen_twice,
    run_again,
)


@pytest.mark.parametrize("change", GOOD, ids=lambda change: change.__name__)
def test_what_is_allowed_is_left_alone(change: Callable[[History], Any]) -> None:
    history = good()
    change(history)
    assert verdict(history).problems == []
