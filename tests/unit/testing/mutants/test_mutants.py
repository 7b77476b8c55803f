"""What is planted fits the code that it is planted in, and every mutant gets its turn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.__main__ import main
from penstock.testing.chaos.mutants.mutant import Mutant, Text, original
from penstock.testing.chaos.mutants.plays import PLAYS
from penstock.testing.chaos.mutants.rounds import in_order
from penstock.testing.history.verdict import INVARIANTS

DAY = 86_400.0
BECOME = """\
import os, sys
from penstock.testing.chaos.mutants import MUTANTS
from penstock.testing.chaos.mutants.mutant import INSTANCE
os.environ[INSTANCE] = sys.argv[2]
MUTANTS[sys.argv[1]].install()
print(sorted(name for name in sys.modules if name.startswith("penstock_services.")))
"""


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_it_has_a_play_and_shows_an_invariant(mutant: Mutant) -> None:
    assert mutant.scenario in PLAYS
    assert set(mutant.shows) <= INVARIANTS.keys()
    assert mutant.texts or mutant.patch
    assert bool(mutant.patch) == bool(mutant.services)
    assert all(text != original(function) for function, text in mutant.functions().items())


def test_every_play_is_played() -> None:
    assert {mutant.scenario for mutant in MUTANTS.values()} == PLAYS.keys()


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.patch])
def test_its_service_can_become_it_and_no_other_does(name: str) -> None:
    for service, touched in ((MUTANTS[name].services[0], True), ("canceller", False)):
        done = subprocess.run(
            (sys.executable, "-c", BECOME, name, f"{service}-0"), capture_output=True, text=True, check=True
        )
        assert touched or done.stdout == "[]\n"


def test_a_text_that_is_not_there_is_refused() -> None:
    wrong = Mutant("x", "", "zombie", ("I1",), (Text("claim_v1", "no such thing", ""),))
    with pytest.raises(AssertionError, match="claim_v1 holds 'no such thing' 0 times"):
        wrong.functions()


def test_what_shakes_the_stack_comes_last() -> None:
    assert sorted(in_order(MUTANTS)) == sorted(MUTANTS)
    assert in_order(["latest-offset", "finish-without-fence"]) == ["finish-without-fence", "latest-offset"]


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MUTANTS)
    with pytest.raises(SystemExit):
        main(["no-such-mutant"])


def test_the_documentation_names_them() -> None:
    text = (Path(__file__).parents[4] / "docs" / "reliability.md").read_text("utf-8")
    assert [name for name in MUTANTS if f"`{name}`" not in text] == []
