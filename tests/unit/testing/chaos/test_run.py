"""What a run comes to when something else than the stack goes wrong."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests.unit.testing.history.making import good

from penstock.core.errors import RetryLater, StopProcess
from penstock.testing.chaos import __main__ as command
from penstock.testing.chaos import ending, nemesis
from penstock.testing.chaos import run as running
from penstock.testing.chaos.arena import Overdue
from penstock.testing.chaos.bars import Bars
from penstock.testing.chaos.run import FAILED, NoVerdict, Plan, Ran
from penstock.testing.history import verdict

PLAN = Plan(7, 4, ["F1 killed", "F3 kafka away"])


class Arena:
    """One without a stack: it starts, and everything that is waited for is there or never comes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.healed = 0
        self.comes = True
        self.db: Any = None

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def heal(self) -> None:
        self.healed += 1

    def all_ready(self) -> bool:
        return True

    def until(self, done: Callable[[], bool], seconds: float = 0, what: str = "") -> None:
        if not self.comes:
            raise Overdue(f"did not come within {seconds:.0f} s: {what}")

    def database(self) -> Any:
        raise RetryLater("away")

    client = kafka = database


@pytest.fixture
def arena(monkeypatch: pytest.MonkeyPatch) -> Arena:
    made = Arena()
    monkeypatch.setattr(running, "Arena", lambda *_, **__: made)
    return made


def fails(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StopProcess("the arena has ended"), "the arena has ended"),
        (ValueError("no such point"), "ValueError: no such point"),
    ],
)
@pytest.mark.parametrize("part", ["_torment", "come_to_rest", "everything"])
def test_a_harness_that_fails_heals_keeps_what_it_can_and_has_no_verdict(
    arena: Arena,
    part: str,
    error: Exception,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("_torment", "come_to_rest", "everything"):
        monkeypatch.setattr(running, name, lambda *_, **__: Counter())
    monkeypatch.setattr(running, part, fails(error))
    topics: list[str] = []
    monkeypatch.setattr(ending, "dump_topic", lambda _, name: topics.append(name) or [])
    monkeypatch.setattr(Arena, "kafka", lambda _: None)
    assert command.main(["7", "--keep", str(tmp_path)]) == command.NO_VERDICT not in (0, 1, 2)
    told = capsys.readouterr().err
    assert "no verdict: the harness itself failed" in told
    assert said in told
    assert f"what could be collected is in {tmp_path}" in told
    assert "rows and logs: " in told, "and what could not"
    assert arena.healed == 1
    assert said in (tmp_path / FAILED).read_text()
    assert {file.name for file in (tmp_path / "topics").iterdir()} == set(topics)
    assert not (tmp_path / "run.json").exists(), "nobody takes it for a whole run later"


class Workload:
    """Clients that have nothing to do; what `broken` says went wrong in them."""

    broken: tuple[str, ...] = ()
    asked_jobs = 9
    accepted: tuple[str, ...] = ()
    done = True

    def __init__(self, *_: Any) -> None:
        self.is_enough = False

    def __enter__(self) -> Workload:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def enough(self) -> None:
        self.is_enough = True


def torment(arena: Arena, path: Path, plan: Plan = PLAN, seconds: float = 3000.0) -> tuple[Counter[str], Any]:
    time = running.Timetable(arena, seconds, lambda _: None)  # type: ignore[arg-type]
    found = running._torment(plan, arena, running.Folder(path), time, lambda _: None)  # type: ignore[arg-type]
    return found, time


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Faults of a run without any stack, in their order; that of Kafka bites only the second time."""
    made: list[str] = []

    def draw(kind: str) -> tuple[str, Callable[[], int]]:
        def act() -> int:
            made.append(kind)
            return int(kind != "F3 kafka away" or made.count(kind) > 1)

        return "target", act

    monkeypatch.setattr(running, "Workload", Workload)
    monkeypatch.setattr(running, "_census", lambda *_: nullcontext())
    monkeypatch.setattr(nemesis, "PAUSE_SECONDS", (0.0, 0.0))
    for kind in PLAN.kinds:
        monkeypatch.setitem(nemesis.FAULTS, kind, lambda _, kind=kind: draw(kind))
    return made


def test_what_did_not_bite_strikes_again_while_a_bar_is_not_reached(
    arena: Arena, struck: list[str], tmp_path: Path
) -> None:
    bars = Bars(faults=2, kinds=2, each={"F3 kafka away": 1})
    bitten, _ = torment(arena, tmp_path, Plan(7, 4, PLAN.kinds, bars))
    assert bitten == Counter(PLAN.kinds)
    assert sorted(struck) == ["F1 killed", "F3 kafka away", "F3 kafka away"]


def test_without_a_bar_it_does_not(arena: Arena, struck: list[str], tmp_path: Path) -> None:
    bitten, time = torment(arena, tmp_path)
    assert bitten == Counter(["F1 killed"])
    assert sorted(struck) == sorted(PLAN.kinds)
    assert time.late == []


def test_no_fault_begins_when_the_time_for_them_is_over(
    arena: Arena, struck: list[str], tmp_path: Path
) -> None:
    _, time = torment(arena, tmp_path, seconds=60)
    assert struck == []
    assert time.late == ["there was no time for 2 faults"]


def test_what_does_not_come_is_told_and_goes_to_the_verdict(
    arena: Arena, struck: list[str], tmp_path: Path
) -> None:
    arena.comes = False
    _, time = torment(arena, tmp_path)
    assert [late.partition(": ")[2] for late in time.late] == [
        "all jobs asked for",
        "every component is ready again",
        "every client has its answer",
    ]


@pytest.mark.parametrize("how", ["a fault", "a client", "a thread"])
def test_an_error_in_the_harness_is_no_finding(
    arena: Arena, struck: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    error = ValueError("wrong by itself")
    if how == "a fault":
        monkeypatch.setitem(nemesis.FAULTS, "F1 killed", lambda _: ("target", fails(error)))
    elif how == "a client":
        monkeypatch.setattr(Workload, "broken", ("ValueError: wrong by itself",))
    else:

        def thread() -> None:
            one = threading.Thread(target=fails(error))
            one.start()
            one.join()

        monkeypatch.setattr(Workload, "enough", lambda _: thread())
    with pytest.raises(StopProcess, match="ValueError: wrong by itself"):
        torment(arena, tmp_path)


def test_a_run_that_falls_short_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    whole = Ran(verdict(good()), Bars(faults=3).measures(Counter()), [])
    short = Ran(whole.verdict, whole.measures, ["faults that bit: 0, 3 are asked for"])
    assert whole.held
    assert not short.held
    for ran, code in ((whole, command.HELD), (short, command.BROKEN)):
        monkeypatch.setattr(command, "run", lambda *_, ran=ran: ran)
        assert command.main(["7", "--keep", str(tmp_path)]) == code
        assert "\nfaults that bit: 0, 3 are asked for" in capsys.readouterr().out
    command.main(["7", "--keep", str(tmp_path), "--json"])
    assert '"held":false' in capsys.readouterr().out


def test_a_stack_that_does_not_start_is_another_matter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(Arena, "__enter__", fails(StopProcess("did not start")))
    monkeypatch.setattr(running, "Arena", Arena)
    assert command.main(["7", "--keep", str(tmp_path)]) == command.NO_STACK
    assert "no verdict" not in capsys.readouterr().err


def test_what_the_proxies_say_at_their_end_is_the_harness_s(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("_torment", "come_to_rest", "everything"):
        monkeypatch.setattr(running, name, lambda *_, **__: Counter())
    monkeypatch.setattr(
        Arena, "__exit__", fails(ExceptionGroup("the proxy of kafka failed", [ValueError("x")]))
    )
    with pytest.raises(NoVerdict, match="the proxy of kafka failed"):
        running.run(PLAN, tmp_path, lambda _: None)
