"""States, reasons, durations and ages in words."""

from __future__ import annotations

import pytest

from penstock.cli.words import LOOKS, REASONS, ago, counted, look, marked, natural, reason_words, span
from penstock.core.states import JOB_STATES, PIPELINE_STATES
from penstock.core.states import REASONS as KNOWN


def test_every_state_has_a_look_and_every_reason_words() -> None:
    assert set(LOOKS) == {*JOB_STATES, *PIPELINE_STATES}
    assert {*REASONS, "signal"} == set(KNOWN)


@pytest.mark.parametrize(
    ("reason", "exit_code", "words"),
    [
        ("exit-code", 3, "exit code 3"),
        ("exit-code", None, "failed"),
        ("signal", 137, "ended by SIGKILL"),
        ("signal", None, "ended by a signal"),
        ("signal", 999, "ended by a signal"),
        ("cancelled", 143, "cancelled on request"),
        ("of-a-later-release", None, "of-a-later-release"),
        (None, 0, ""),
    ],
)
def test_reasons(reason: str | None, exit_code: int | None, words: str) -> None:
    assert reason_words(reason, exit_code) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
        (3_599.4, "59 min 59 s"), (3_600, "1 h 0 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"),
        (0.5, "now"),
        (12, "12 s ago"),
        (200, "3 min ago"),
        (7_300, "2 h ago"),
        (200_000, "2 d ago"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_counts_follow_the_life_of_a_job() -> None:
    counts = {"SUCCESS": 3, "PENDING": 1, "FAILED": 0, "FROZEN": 2}
    assert marked(counts) == "1 · 3 ✓ 2 •"
    assert counted(counts) == "1 PENDING, 3 SUCCESS, 2 FROZEN"


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["test (10)", "test (2)", "lint", "2", "b10a", "b9z"]
    assert sorted(names, key=natural) == ["2", "b9z", "b10a", "lint", "test (2)", "test (10)"]


def test_a_state_of_a_later_release_can_be_shown() -> None:
    assert look("FROZEN").mark
