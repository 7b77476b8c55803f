"""A verdict is told to people and to programs, and made again from the folder that a run left."""

from __future__ import annotations

from pathlib import Path

import msgspec
import orjson
import pytest
from tests.unit.testing.history.making import BEGAN, good, identity

from penstock.kafka.records import Record
from penstock.testing.clock import ManualClock
from penstock.testing.history import (
    ClientJournal,
    Folder,
    History,
    NemesisJournal,
    PeekJournal,
    load,
    verdict,
)
from penstock.testing.history.__main__ import main
from penstock.testing.history.dumps import difference
from penstock.testing.history.folder import About
from penstock.testing.history.report import text
from penstock.testing.history.story import MOST_LINES

A, C = identity("build/a"), identity("build/c")


def write(history: History, path: Path) -> None:
    """As a run does: what it did goes to its journals, the rest is written at its end."""
    folder = Folder(path)
    folder.about(About(**{name: getattr(history, name) for name in About.__struct_fields__}))
    folder.books(history.books)
    clock = ManualClock(BEGAN)
    with ClientJournal(path, clock) as client:
        for ask in history.asks:
            op = client.ask(ask.key, ask.definition, door=ask.door, expect=ask.expect)
            answer = {"ok": client.ok, "info": client.info, "fail": client.fail}[ask.outcome]
            answer(op, **({"pipeline_id": ask.pipeline_ids[0]} if ask.pipeline_ids else {}))
        for wish in history.wishes:
            client.ok(client.cancel(wish.pipeline_id, wish.job_id))
        for poison in history.poison:
            client.ok(client.poison(poison.topic, poison.mark))
    for fault in history.faults or ():
        clock = ManualClock(fault.on)
        with NemesisJournal(path, clock) as nemesis:
            nemesis.strike(fault.kind, fault.target, bit=fault.bit)
    for peek in history.peeks or ():
        with PeekJournal(path, ManualClock(peek.at)) as peeks:
            peeks.saw(peek.poller, peek.subject, peek.version, peek.state)
    for (job_id, attempt), runs in (history.runs or {}).items():
        for run in runs:
            lines = [f"start {attempt} {run.started_at}\n"]
            if run.ended_at is not None:
                lines.append(f"end {attempt} {run.exit_code} {run.ended_at} {run.lines}\n")
            with (folder.runs / job_id).open("a") as file:
                file.writelines(lines)
    for name, records in (history.topics or {}).items():
        folder.topic(
            name,
            [
                Record(name, one.partition, one.offset, one.key.encode(), one.value.encode(), [], 0)
                for one in records
            ],
        )
    folder.logs((history.logs or {}).values())
    folder.samples(history.samples or ())
    folder.replays(history.replays or ())
    folder.survivors(history.survivors or ())


def test_what_a_run_left_is_the_whole_history(tmp_path: Path) -> None:
    write(good(), tmp_path)
    found = verdict(load(tmp_path))
    assert found.problems == []
    assert {one.state for one in found.invariants} == {"held"}
    assert found.figures == verdict(good()).figures


def test_what_a_run_did_not_write_is_not_judged(tmp_path: Path) -> None:
    history = good()
    Folder(tmp_path).about(About())
    Folder(tmp_path).books(history.books)
    (tmp_path / "runs").rmdir()
    loaded = load(tmp_path)
    assert (loaded.topics, loaded.runs, loaded.faults, loaded.logs, loaded.peeks) == (None,) * 5


def test_the_command_judges_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = good()
    write(history, tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "all invariants held" in capsys.readouterr().out
    (tmp_path / "topics" / "penstock.jobs.status").unlink()
    assert main([str(tmp_path), "--json"]) == 1
    told = orjson.loads(capsys.readouterr().out)
    assert not told["held"]
    assert [one["invariant"] for one in told["invariants"] if one["state"] == "broken"] == ["I9"]
    assert told["figures"]["recovery"]["kill"]["given_back"]["count"] == 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    (tmp_path / "run.json").write_text("{")
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("holds no whole run") == 2


def test_the_text_has_a_row_an_invariant_and_the_shortest_story() -> None:
    history = good()
    assert history.runs is not None
    history.runs[A, 1].append(history.runs[A, 1][0])
    history.runs[C, 1].append(history.runs[C, 1][0])
    found = verdict(history)
    told = text(found)
    assert all(f"\n{one.invariant} " in told for one in found.invariants[1:])
    assert "I6 is broken" in told
    # a has one attempt, c has two: a's story is the shorter one.
    story = found.of("I6").story
    assert story[0].startswith("a (")
    assert [" ".join(line.split()[1:]) for line in story[1:6]] == [
        "advancer-0 a v1 new -> QUEUED",
        "advancer-0 a v2 QUEUED -> ASSIGNED #1 to runner-0",
        "process a #1 starts",
        "process a #1 starts",
        "advancer-0 a v3 ASSIGNED -> RUNNING #1",
    ]
    assert any("nemesis kill runner-1 (bit 1)" in " ".join(line.split()) for line in story)


def test_a_story_tells_of_late_reports_and_is_cut() -> None:
    history = good()
    history.books.leases.append({"job_id": C})
    story = verdict(history).of("I8").story
    assert any("told too late: ended, success" in line for line in story)
    assert any(line.split()[1] == "runner-1" for line in story[1:])
    rows = [row for row in history.books.job_transitions if row["job_id"] == C]
    history.books.job_transitions.extend(rows * 20)
    assert len(verdict(history).of("I8").story) <= MOST_LINES + 2


def test_a_pipelines_story_begins_with_its_client() -> None:
    history = good()
    history.books.open_pipelines.append({"pipeline_id": identity("nightly")})
    story = [" ".join(line.split()[1:]) for line in verdict(history).of("I8").story[1:]]
    assert any(line.startswith("client asks for nightly") for line in story)
    assert any(line.startswith("client cancels nightly") for line in story)


def test_figures_of_a_good_run() -> None:
    figures = verdict(good()).figures
    assert figures.jobs_by_state == {"CANCELLED": 1, "SKIPPED": 1, "SUCCESS": 3}
    assert figures.requests == {
        "ok": 1, "fail": 0, "info": 1, "recovered": 1, "lost": 0, "unexpected": 0, "duplicated": 0,
    }  # fmt: skip
    assert (figures.retaken, figures.zombies) == (1, 1)
    kill = figures.recovery["kill"]
    assert (kill.faults, kill.bitten, kill.given_back.count) == (1, 1, 1)
    assert 3.0 < kill.given_back.longest < 4.5
    assert kill.given_back.at_most["5"] == 1
    # b waits in the queue when c's runner dies, and is claimed right after it is free; c waits for its lease.
    assert kill.stalls == kill.alone
    assert 0.0 < kill.stalls.longest < 1.0
    assert figures.stops.count == 1
    assert figures.stops.longest < 1.0
    assert figures.heal_to_rest is not None


def test_a_stall_counts_alone_when_nothing_else_was_broken() -> None:
    history = good()
    assert history.faults is not None
    (kill,) = history.faults
    history.faults.append(msgspec.structs.replace(kill, kind="cut", off=kill.on + 60.0))
    recovery = verdict(history).figures.recovery
    assert (recovery["kill"].stalls.count, recovery["kill"].alone.count) == (1, 0)
    assert recovery["cut"].stalls.longest == 0.0


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("a 1\nb 2", "a 1\nb 2", ""),
        ("a 1\nb 2", "a 1\nb 3", "no longer there: b 2"),
        ("a 1\nb 3", "a 1\nb 2\nb 3", "not there before: b 2"),
        ("a 1", "a 1\nb 2", "not there before: b 2"),
        ("a 1\nb 2", "a 1", "no longer there: b 2"),
        ("", "a 1", "not there before: a 1"),
    ],
)
def test_the_first_difference_of_two_dumps(before: str, after: str, told: str) -> None:
    assert difference(before, after) == told


def test_a_verdict_is_plain_json() -> None:
    found = verdict(good())
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
    assert found.as_json()["held"]
