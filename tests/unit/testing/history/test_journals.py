"""What is written while a run goes on is read again as what happened, also when it ended in the middle."""

from __future__ import annotations

from pathlib import Path

from penstock.testing.clock import ManualClock
from penstock.testing.history.folder import _client, _faults, read_runs
from penstock.testing.history.journals import CLIENT, NEMESIS, ClientJournal, NemesisJournal

DEFINITION = {"name": "build", "jobs": {"a": {"needs": []}}}


def test_tries_under_one_key_are_one_request(tmp_path: Path) -> None:
    clock = ManualClock(100.0)
    with ClientJournal(tmp_path, clock) as journal:
        journal.info(journal.ask("k", DEFINITION), note="reset")
        clock.advance(2)
        again = journal.ask("k", DEFINITION)
        clock.advance(1)
        journal.ok(again, pipeline_id="p1", note="202")
        journal.ok(journal.ask("k", DEFINITION), pipeline_id="p2")
        journal.fail(journal.ask("k", {**DEFINITION, "name": "other"}, expect="conflict"), note="409")
        journal.ask("never answered", DEFINITION, door="kafka")
    (first, conflict, unknown), _, _ = _client(tmp_path / CLIENT)
    assert (first.outcome, first.tries, first.pipeline_ids) == ("ok", 3, ["p1", "p2"])
    assert (first.asked_at, first.answered_at, first.note) == (100.0, 103.0, "202")
    assert (conflict.outcome, conflict.expect) == ("fail", "conflict")
    assert (unknown.outcome, unknown.door) == ("info", "kafka")


def test_one_refusal_of_several_tries_decides_nothing(tmp_path: Path) -> None:
    with ClientJournal(tmp_path) as journal:
        journal.info(journal.ask("k", DEFINITION))
        journal.fail(journal.ask("k", DEFINITION))
    (ask,), _, _ = _client(tmp_path / CLIENT)
    assert ask.outcome == "info"


def test_cancels_and_poison(tmp_path: Path) -> None:
    with ClientJournal(tmp_path) as journal:
        journal.ok(journal.cancel("p1"))
        journal.info(journal.cancel("p1", "j1", door="kafka"))
        journal.ok(journal.poison("penstock.jobs.reports", "mark-1"))
    _, wishes, poison = _client(tmp_path / CLIENT)
    assert [(wish.job_id, wish.door, wish.outcome) for wish in wishes] == [
        (None, "http", "ok"),
        ("j1", "kafka", "info"),
    ]
    assert [(one.mark, one.outcome) for one in poison] == [("mark-1", "ok")]


def test_faults_have_a_begin_an_end_and_a_proof(tmp_path: Path) -> None:
    clock = ManualClock(10.0)
    with NemesisJournal(tmp_path, clock) as journal:
        cut = journal.on("cut", "postgres", note="all")
        journal.strike("kill", "advancer-0")
        clock.advance(5)
        journal.off(cut, bit=7)
        journal.on("freeze", "runner-0")
    faults = _faults(tmp_path / NEMESIS)
    assert [(one.kind, one.target, one.on, one.off, one.bit) for one in faults] == [
        ("cut", "postgres", 10.0, 15.0, 7),
        ("kill", "advancer-0", 10.0, 10.0, 1),
        ("freeze", "runner-0", 15.0, None, 0),
    ]


def test_runs_are_read_from_what_jobs_wrote(tmp_path: Path) -> None:
    (tmp_path / "job-1").write_text("start 1 10.5\nend 1 3 12.25 40\nstart 2 20\nend 2 0 2")
    (tmp_path / "job-2").write_text("start 1 10\nstart 1 11\nend 1 0 12\n")
    runs = read_runs(tmp_path)
    (first,) = runs["job-1", 1]
    assert (first.started_at, first.ended_at, first.exit_code, first.lines) == (10.5, 12.25, 3, 40)
    (cut_off,) = runs["job-1", 2]
    assert (cut_off.ended_at, cut_off.exit_code) == (None, None)
    twice = runs["job-2", 1]
    assert [(run.started_at, run.ended_at) for run in twice] == [(10.0, None), (11.0, 12.0)]


def test_an_exclusive_run_tells_that_it_is_not_alone(tmp_path: Path) -> None:
    (tmp_path / "job-1").write_text("start 1 10\nstart 2 20\noverlap 2 20.5\nend 2 0 21\n")
    runs = read_runs(tmp_path)
    assert [run.overlapped_at for run in (*runs["job-1", 1], *runs["job-1", 2])] == [None, 20.5]
    assert runs["job-1", 2][0].ended_at == 21.0
