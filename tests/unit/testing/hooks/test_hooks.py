"""Arming, passing and loading of the hooks, in this process and in small ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.testing.chaos import hooks
from penstock.testing.chaos.hooks import placing
from penstock.testing.chaos.hooks.armed import KILLED, passing

POINT = "advancer.polled"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hooks.environment(tmp_path)
    return tmp_path


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own."""
    given = {**os.environ, **environ}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


def test_a_point_that_is_not_armed_is_passed(folder: Path) -> None:
    passing(folder, "advancer-0", POINT)()
    assert hooks.bites(folder) == []


def test_an_armed_point_bites_once_and_only_its_instance(folder: Path) -> None:
    hooks.arm(folder, "advancer-0", POINT, "sleep:0")
    passing(folder, "advancer-1", POINT)()
    passing(folder, "advancer-0", "advancer.committed")()
    assert hooks.bites(folder) == []
    passed = passing(folder, "advancer-0", POINT)
    passed()
    passed()
    (bite,) = hooks.bites(folder)
    assert bite[:3] == ("advancer-0", POINT, os.getpid())
    assert bite.action == "sleep:0"
    hooks.arm(folder, "advancer-0", POINT, "sleep:0.0")
    passed()
    assert len(hooks.bites(folder)) == 2


def test_what_is_disarmed_does_not_bite(folder: Path) -> None:
    hooks.arm(folder, "advancer-0", POINT)
    hooks.disarm(folder, "advancer-0", POINT)
    hooks.disarm(folder, "advancer-0", POINT)
    passing(folder, "advancer-0", POINT)()
    assert hooks.bites(folder) == []


def test_all_that_is_armed_can_be_disarmed_at_once(folder: Path) -> None:
    hooks.arm(folder, "advancer-0", POINT)
    hooks.arm(folder, "reaper-1", "reaper.committed")
    hooks.disarm_all(folder)
    passing(folder, "advancer-0", POINT)()
    passing(folder, "reaper-1", "reaper.committed")()
    assert hooks.bites(folder) == []


def test_no_point_and_no_action_that_there_is_not(folder: Path) -> None:
    with pytest.raises(ValueError, match="no point"):
        hooks.arm(folder, "advancer-0", "advancer.nowhere")
    with pytest.raises(ValueError, match="no action 'explode'"):
        hooks.arm(folder, "advancer-0", POINT, "explode")


@pytest.mark.parametrize(("action", "status"), [("exit", KILLED), ("stop", -signal.SIGKILL)])
def test_the_process_dies_or_stands_still(folder: Path, action: str, status: int) -> None:
    hooks.arm(folder, "advancer-0", POINT, action)
    program = (
        "from pathlib import Path; from penstock.testing.chaos.hooks.armed import passing\n"
        f"passing(Path({str(folder)!r}), 'advancer-0', {POINT!r})()"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    if action == "stop":
        _, told = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(told)
        process.kill()
    assert process.wait() == status
    (bite,) = hooks.bites(folder)
    assert bite.pid == process.pid


def test_every_point_is_where_it_says() -> None:
    program = (
        "from penstock.testing.chaos.hooks import POINTS\n"
        "for point in POINTS.values(): point.place(lambda: None)\n"
        "print(len(POINTS))"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(hooks.POINTS) >= 22


def test_every_point_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[4] / "docs" / "reliability.md").read_text("utf-8")
    for point in hooks.POINTS.values():
        assert f"| `{point.name}` | {point.service} | {point.doc} |" in page


def test_a_service_that_is_served_passes_its_points(folder: Path) -> None:
    hooks.arm(folder, "intake-0", "intake.before-commit")
    program = (
        "from penstock.runtime import run\n"
        "from penstock.runtime.settings import ProcessSettings\n"
        "from penstock.store import requests\n"
        "run.serve('intake', ProcessSettings(instance='intake-0'), lambda _: requests.accept())"
    )
    done = run(program, **hooks.environment(folder), PENSTOCK_INSTANCE="intake-0")
    assert done.returncode == KILLED, done.stderr
    assert [bite.point for bite in hooks.bites(folder)] == ["intake.before-commit"]


def test_without_its_variable_nothing_is_loaded(folder: Path) -> None:
    program = "import sys; print('penstock.testing' in sys.modules)"
    given = hooks.environment(folder)
    assert run(program, PENSTOCK_INSTANCE="intake-0").stdout == "False\n"
    assert run(program, **given).stdout == "False\n"
    assert run(program, **given, PENSTOCK_INSTANCE="intake-0").stdout == "True\n"


def test_a_mutant_that_there_is_not_stops_the_process(folder: Path) -> None:
    (folder / hooks.MUTANT).write_text("no such mutant\n")
    program = (
        "from penstock.runtime import run\n"
        "from penstock.runtime.settings import ProcessSettings\n"
        "run.serve('intake', ProcessSettings(), lambda _: None)"
    )
    done = run(program, **hooks.environment(folder), PENSTOCK_INSTANCE="intake-0")
    assert done.returncode == 1


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module `target` to place points in."""
    calls: list[str] = []

    def double(number: int) -> int:
        calls.append("double")
        return 2 * number

    made = SimpleNamespace(calls=calls, double=double, twice=lambda number: made.double(made.double(number)))
    monkeypatch.setitem(sys.modules, "target", made)
    return made


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (placing.before("target:double"), ["passed", "double"]),
        (placing.before("target:double", lambda number: number > 3), ["double"]),
        (placing.after("target:double", lambda result, number: result > number), ["double", "passed"]),
        (placing.after("target:double", lambda result, _: result > 6), ["double"]),
        (placing.within("target:twice", placing.before("target:double")), ["double"]),
    ],
)
def test_where_a_point_is_passed(
    module: Any, place: Callable[[Callable[[], None]], None], expected: list[str]
) -> None:
    place(lambda: module.calls.append("passed"))
    assert module.double(3) == 6
    assert module.calls == expected


def test_within_another_function(module: Any) -> None:
    place = placing.within("target:twice", placing.before("target:double"), lambda number: number > 1)
    place(lambda: module.calls.append("passed"))
    assert (module.twice(1), module.twice(2)) == (4, 8)
    assert module.calls == ["double"] * 2 + ["passed", "double"] * 2


def test_a_target_that_is_not_there(module: Any) -> None:
    with pytest.raises(AttributeError):
        placing.before("target:triple")(lambda: None)
