"""The live tree: which jobs it shows, how, and what stays of it."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from tests.unit.client.fake_gateway import AT, PIPELINE, job, job_id, life, lines, status

from penstock.cli.tree import TreeScreen, tree
from penstock.cli.view import PipelineView
from penstock.cli.words import timestamp

NOW = timestamp(AT) + 3.2


def console(width: int = 100, height: int = 40, *, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        height=height,
        force_terminal=terminal,
        color_system=None,
        highlight=False,
    )


def drawn(view: PipelineView, rows: int = 40, last_lines: dict[str, str] | None = None) -> list[str]:
    target = console()
    target.print(tree(view, NOW, rows, last_lines or {}))
    assert isinstance(target.file, io.StringIO)
    return [line.rstrip() for line in target.file.getvalue().splitlines()]


def seen(*records: dict[str, Any], jobs: list[dict[str, Any]] | None = None) -> PipelineView:
    view = PipelineView(PIPELINE)
    view.lay_out(jobs or [])  # type: ignore[arg-type]
    for record in records:
        view.apply(record)  # type: ignore[arg-type]
    return view


def staged() -> PipelineView:
    jobs = [
        job(1, "compile", stage="build"),
        job(2, "unit", stage="test", level=1, needs=["compile"]),
        job(3, "style", stage="test", level=1, needs=["compile"]),
        job(4, "deploy", stage="ship", level=2, needs=["unit", "style"]),
    ]
    waiting = status(1, "PENDING", job_id=job_id(4), name="deploy", attempt=0)
    failed = life(3, "style", "FAILED", reason="exit-code", exit_code=3)
    whole = (status(1, "PENDING"), status(2, "RUNNING"))
    return seen(*whole, *life(1, "compile"), *life(2, "unit")[:3], *failed, waiting, jobs=jobs)


def test_jobs_stand_in_their_stages() -> None:
    found = drawn(staged(), last_lines={job_id(2): "\x1b[32mok\x1b[0m test 17"})
    assert found[0].startswith("● RUNNING demo 3.2 s  1 PENDING, 1 RUNNING, 1 SUCCESS, 1 FAILED")
    assert [line.split() for line in found[1:]] == [
        ["build"],
        ["└─", "✓", "compile", "SUCCESS", "1.2", "s"],
        ["test"],
        ["├─", "✗", "style", "FAILED", "1.2", "s", "exit", "code", "3"],
        ["└─", "⠹", "unit", "RUNNING", "3.2", "s", "ok", "test", "17"],
        ["ship"],
        ["└─", "·", "deploy", "PENDING", "waits", "for", "unit"],
    ]


def test_where_not_all_fit_the_urgent_ones_are_shown() -> None:
    found = drawn(staged(), rows=2)
    assert [line.split()[2] for line in found if "─" in line] == ["style", "unit"]
    assert found[-1] == "… and 2 more jobs: 1 PENDING, 1 SUCCESS"


def test_names_of_jobs_are_no_markup() -> None:
    found = drawn(seen(status(1, "PENDING"), *life(1, "[red]x[/red] :smile:")))
    assert "[red]x[/red] :smile:" in found[1]


def test_a_long_line_does_not_push_the_states_away() -> None:
    found = drawn(seen(*life(1, "a")[:3]), last_lines={job_id(1): "x" * 500})
    assert "RUNNING 3.2 s xxx" in found[1]
    assert len(found) == 2


def played(*, logs: bool) -> str:
    """What a terminal gets while a job fails."""
    target = console(terminal=True)
    screen = TreeScreen(target, logs=logs)
    view = seen(status(1, "PENDING"))
    for record in life(1, "a", "FAILED", reason="exit-code", exit_code=3):
        change = view.apply(record)  # type: ignore[arg-type]
        assert change is not None
        screen.status(view, change, record)  # type: ignore[arg-type]
        screen.tick(view, NOW)
    output = lines("first\x1b[2J", "10%\r99%")[:-1]
    screen.lines(view, view.jobs[job_id(1)], 1, output)  # type: ignore[arg-type]
    screen.tick(view, NOW)
    screen.failed(view, view.jobs[job_id(1)], output)  # type: ignore[arg-type]
    screen.note("a word")
    screen.close(view)
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_lines_run_by_with_their_job_in_front() -> None:
    shown = played(logs=True)
    assert "a │ first" in shown
    assert "a │ 99%" in shown
    assert "✗ a FAILED exit code 3 (1.2 s)" in shown
    assert shown.index("a │ 99%") < shown.index("a: exit code 3 ─") < shown.rindex("first")
    assert "\x1b[2J" not in shown


def test_without_lines_there_is_still_the_tail_of_what_failed() -> None:
    shown = played(logs=False)
    assert "a │" not in shown
    tail = shown[shown.index("a: exit code 3") :]
    assert "first" in tail
    assert "a word" in shown


def test_the_cursor_is_there_whatever_ends_the_process() -> None:
    shown = played(logs=True)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
