"""The states of the code, of SQL's checks and of SQL's functions agree, and so do the ways between them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, get_args

import pytest

from penstock.core import lanes, states
from penstock.events import workers

ROOT: Final = Path(__file__).parents[2]
STORE: Final = ROOT / "libs/penstock/store"
MIGRATIONS: Final = "\n".join(file.read_text("utf-8") for file in sorted((STORE / "migrations").iterdir()))
FUNCTIONS: Final = {
    file.stem: re.sub(r"--[^\n]*", "", file.read_text("utf-8"))
    for file in sorted((STORE / "functions").iterdir())
}

REQUEST_STATES: Final = {"RECEIVED", "ACCEPTED", "REJECTED"}
OUTCOMES: Final = {"no-such-job"}
"""Answers that look like reasons."""
LOG_WORDS: Final = {"UTC", "YYYYMMDD"}
"""Words in capitals that are no states."""

MOVES: Final[dict[str, set[tuple[str | None, str]]]] = {
    "accept_v1": {(None, "QUEUED"), (None, "PENDING")},
    "cancel_v1": {
        *((state, "CANCELLED") for state in ("PENDING", "WAITING", "QUEUED", "RETRYING")),
        *((state, "CANCELLING") for state in ("ASSIGNED", "RUNNING")),
    },
    "claim_v1": {("QUEUED", "ASSIGNED")},
    "finish_v1": {
        ("ASSIGNED", "RUNNING"),  # a start that is folded into its end
        *(("RUNNING", state) for state in ("SUCCESS", "FAILED", "RETRYING")),
        *(("ASSIGNED", state) for state in ("FAILED", "RETRYING")),  # it never ran
        ("CANCELLING", "CANCELLED"),
    },
    "promote_v1": set(),  # to another lane
    "queue_due_v1": {("QUEUED", "FAILED")},
    "refuse_v1": {("QUEUED", "FAILED")},
    "release_v1": {
        *((held, state) for held in ("ASSIGNED", "RUNNING") for state in ("QUEUED", "FAILED")),
        ("RUNNING", "RETRYING"),  # it ran too long
        ("CANCELLING", "CANCELLED"),
    },
    "rerun_v1": {(None, state) for state in ("PENDING", "QUEUED", *states.JOB_TERMINAL)},
    "resolve_v1": {("PENDING", "QUEUED"), ("PENDING", "SKIPPED")},
    "retry_due_v1": {("RETRYING", "QUEUED")},
    "settle_v1": {("PENDING", "QUEUED")},
    "start_v1": {("ASSIGNED", "RUNNING")},
}
"""How each function moves jobs. Whoever changes a function says here what it does now."""
PIPELINE_MOVES: Final[dict[str, set[tuple[str | None, str]]]] = {
    "accept_v1": {(None, "PENDING")},
    "reject_v1": {(None, "REJECTED")},
    "rerun_v1": {(None, "PENDING")},
    "cancel_v1": {("PENDING", "CANCELLING"), ("RUNNING", "CANCELLING")},
    "settle_v1": {("PENDING", "RUNNING")},
    "close_v1": {
        ("CANCELLING", "CANCELLED"),
        *((state, end) for state in ("PENDING", "RUNNING") for end in ("SUCCESS", "FAILED", "CANCELLED")),
    },
}
READ_ONLY: Final = {
    "accept_v1": {"RECEIVED", "ACCEPTED"},  # of the request
    "reject_v1": {"RECEIVED"},
    "settle_v1": {"SUCCESS", "FAILED"},  # how the needs of its children ended
    "rerun_v1": {"RECEIVED", "ACCEPTED"},
    "promote_v1": set(states.JOB_TERMINAL),
}
"""States of something else that a function looks at."""
COPIED: Final = {"rerun_v1": {"SKIPPED"}}
"""States that a function takes over from other rows without naming them."""


def words(text: str) -> set[str]:
    """Words in capitals that are written as texts."""
    return set(re.findall(r"'([A-Z]{2,})'", text)) - LOG_WORDS


def listed(pattern: str, text: str) -> set[str]:
    """The words of the list in parentheses that follows the only place where the pattern is."""
    (found,) = re.findall(pattern + r"\s*\(([^)]*)\)", text)
    return words(found)


def table(name: str) -> str:
    """The definition of a table."""
    (found,) = re.findall(rf"CREATE TABLE {name} \((.*?)\n\)", MIGRATIONS, re.DOTALL)
    return str(found)


def test_checks_have_the_states_of_the_code() -> None:
    assert listed(r"CHECK \(state IN", table("jobs")) == set(states.JOB_STATES)
    assert listed(r"CHECK \(state IN", table("pipelines")) == set(states.PIPELINE_STATES)
    assert listed(r"CHECK \(state IN", table("requests")) == REQUEST_STATES
    assert listed(r"CHECK \(state IN", table("workers")) == set(get_args(workers.WorkerState))
    assert listed(r"\(token IS NOT NULL\) = \(state IN", table("jobs")) == states.HELD
    lane = re.findall(r"CHECK \(lane IN \(([^)]*)\)", table("jobs"))[0]
    assert re.findall(r"'(\w+)'", lane) == list(lanes.LANES)


def test_functions_know_no_other_states() -> None:
    known = {*states.JOB_STATES, *states.PIPELINE_STATES, *REQUEST_STATES, *get_args(workers.WorkerState)}
    assert {name: words(text) - known for name, text in FUNCTIONS.items() if words(text) - known} == {}


def test_terminal_means_the_same_everywhere() -> None:
    assert listed(r"c\.state IN", FUNCTIONS["record_jobs_v1"]) == states.JOB_TERMINAL
    assert listed(r"j\.state NOT IN", FUNCTIONS["reconcile_v1"]) == states.JOB_TERMINAL
    assert listed(r"'terminal', p\.state IN", FUNCTIONS["pipeline_record_v1"]) == states.PIPELINE_TERMINAL
    assert (
        listed(r"IF state IN", FUNCTIONS["request_cancel_v1"])
        == states.JOB_TERMINAL | states.PIPELINE_TERMINAL
    )


def test_reasons_in_functions_are_known() -> None:
    written = {
        word
        for text in FUNCTIONS.values()
        for clause in re.findall(r"(?:reason\s*(?:=|<>)|reason IN \(|THEN)\s*((?:'[a-z-]+'(?:, )?)+)", text)
        for word in re.findall(r"'([a-z]+-[a-z-]+|cancelled|signal)'", clause)
    }
    written -= OUTCOMES
    assert {"worker-lost", "cancelled", "start-refused"} <= written <= set(states.REASONS)


def test_every_function_that_moves_jobs_is_listed() -> None:
    writers = {name for name, text in FUNCTIONS.items() if re.search(r"(UPDATE|INSERT INTO) jobs\b", text)}
    assert writers == set(MOVES)
    closers = {
        name for name, text in FUNCTIONS.items() if re.search(r"(UPDATE|INSERT INTO) pipelines\b", text)
    }
    assert closers == set(PIPELINE_MOVES)


@pytest.mark.parametrize("name", MOVES)
def test_functions_make_legal_moves_only(name: str) -> None:
    for before, after in MOVES[name]:
        assert after in states.JOB_TRANSITIONS[before], f"{before} -> {after}"  # type: ignore[index]


@pytest.mark.parametrize("name", PIPELINE_MOVES)
def test_functions_make_legal_moves_of_pipelines_only(name: str) -> None:
    for before, after in PIPELINE_MOVES[name]:
        assert after in states.PIPELINE_TRANSITIONS[before], f"{before} -> {after}"  # type: ignore[index]


@pytest.mark.parametrize("name", {**MOVES, **PIPELINE_MOVES})
def test_the_list_has_the_states_that_the_function_names(name: str) -> None:
    moves = MOVES.get(name, set()) | PIPELINE_MOVES.get(name, set())
    listed_states = {state for move in moves for state in move if state}
    named = listed_states - COPIED.get(name, set())
    assert words(FUNCTIONS[name]) == named | READ_ONLY.get(name, set())


def test_terminal_states_absorb() -> None:
    for state, following in states.JOB_TRANSITIONS.items():
        assert (following == frozenset()) == (state in states.JOB_TERMINAL)
    for pipeline_state, next_states in states.PIPELINE_TRANSITIONS.items():
        assert (next_states == frozenset()) == (pipeline_state in states.PIPELINE_TERMINAL)
    assert set(states.JOB_TRANSITIONS) == {None, *states.JOB_STATES}
    assert set(states.PIPELINE_TRANSITIONS) == {None, *states.PIPELINE_STATES}
