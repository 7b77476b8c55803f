"""`make verify`: two lanes at once, every part in full, whatever becomes of the others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests import verify
from tests.verify import ROOT, Part, by_the_real_clock, by_their_own

MODULES = (
    "penstock.testing.chaos", "penstock.testing.chaos.mutants", "penstock.testing.simulation", "tests.model",
)  # fmt: skip
MEET = """
import pathlib, sys, time
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
deadline = time.monotonic() + 60
while not other.exists() and time.monotonic() < deadline: time.sleep(0.01)
sys.exit(not other.exists())
"""


def python(program: str, *words: str) -> tuple[str, ...]:
    return ("-c", program, *words)


def test_the_lanes_go_on_at_once(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    done = verify.verify([Part("a", python(MEET, one, other))], [Part("b", python(MEET, other, one))])
    assert [(part.name, part.code) for part in done] == [("a", 0), ("b", 0)]


def test_a_part_that_fails_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fails, passes = python("raise SystemExit(3)"), python("import os; print('priority', os.nice(0))")
    named = python("import os; print(os.environ['NAMED'])")
    monkeypatch.setattr(
        verify, "by_the_real_clock", lambda _: [Part("a", fails), Part("b", named, {"NAMED": "it"})]
    )
    monkeypatch.setattr(verify, "by_their_own", lambda _: [Part("c", fails), Part("d", passes)])
    assert verify.main(["7"]) == 1
    told = capfd.readouterr().out
    assert re.findall(r"^([abcd]) .*(passed|FAILED \(3\))$", told, re.MULTILINE) == [
        ("a", "FAILED (3)"), ("b", "passed"), ("c", "FAILED (3)"), ("d", "passed"),
    ]  # fmt: skip
    assert "\nit\n" in told
    assert f"\npriority {min(19, os.nice(0) + 19)}\n" in told
    assert "seed 7: 2 of 4 parts failed" in told
    monkeypatch.setattr(verify, "by_the_real_clock", lambda _: [Part("b", named, {"NAMED": "it"})])
    monkeypatch.setattr(verify, "by_their_own", lambda _: [])
    assert verify.main(["7"]) == 0


def test_output_that_is_no_text_is_told_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    noisy = python("import sys; sys.stdout.buffer.write(bytes([255])); raise SystemExit(3)")
    assert [part.code for part in verify.verify([], [Part("a", noisy), Part("b", python(""))])] == [3, 0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_part_of_which_nothing_is_known_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "LOWEST", ("no-such-program",))
    done = verify.verify([Part("a", python(""))], [Part("b", python("")), Part("c", python(""))])
    assert [(part.name, part.code) for part in done] == [("a", 0), ("b", verify.UNTOLD), ("c", verify.UNTOLD)]


def test_what_the_tests_do_in_part_comes_in_full() -> None:
    points, *_ = by_the_real_clock(7)
    files = {f"tests/chaos/{file.name}" for file in (ROOT / "tests" / "chaos").glob("test_*.py")}
    parts_of_their_own = {"tests/chaos/test_mutants.py", "tests/chaos/test_run.py"}
    assert files - parts_of_their_own == {verify.OUTAGES}
    assert points.environ == {"PENSTOCK_CRASH_POINTS": "all", "PENSTOCK_OUTAGES": "all"}
    assert set(points.words[2:]) == {verify.OUTAGES, verify.POINTS}
    assert all((ROOT / word).exists() for word in points.words[2:])


@pytest.mark.parametrize("module", MODULES)
def test_every_command_takes_its_options(module: str) -> None:
    (part,) = [one for one in (*by_the_real_clock(7), *by_their_own(7)) if one.words[1] == module]
    told = subprocess.run(
        (sys.executable, "-m", module, "--help"), cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [word for word in part.words if word.startswith("--") and word not in told] == []


def test_the_makefile_runs_it() -> None:
    assert "tests.verify $(SEED)" in (ROOT / "Makefile").read_text("utf-8")
