"""The verdict on a history: for every invariant whether it held, and what it was judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from penstock.testing.history.checks import CHECKS, Check
from penstock.testing.history.facts import Facts, Finding
from penstock.testing.history.figures import Figures, figures
from penstock.testing.history.past import History
from penstock.testing.history.story import story

MOST_FINDINGS: Final = 50
"""So many of one invariant are told; the rest is counted."""
MOST_STORIES: Final = 200
"""Among so many findings the one with the shortest story is looked for."""

State = Literal["held", "broken", "not judged"]


class Judged(msgspec.Struct, frozen=True):
    """One invariant. `lacks`: parts of the history without which some of its checks could not be made."""

    invariant: str
    about: str
    state: State
    found: int
    findings: list[str]
    story: list[str]
    lacks: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """All invariants of one run, and its figures."""

    seed: int
    commit: str
    held: bool
    invariants: list[Judged]
    figures: Figures

    @property
    def problems(self) -> list[str]:
        """Everything that is wrong, in words, with the invariant in front."""
        return [f"{one.invariant}: {text}" for one in self.invariants for text in one.findings]

    def of(self, invariant: str) -> Judged:
        """What became of one invariant."""
        return next(one for one in self.invariants if one.invariant == invariant)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


INVARIANTS: Final[dict[str, str]] = {
    "I1": "what was accepted exists once, with all its jobs, and each of them ends in time",
    "I2": "one pipeline a key; nothing exists that nobody asked for",
    "I3": "versions without a gap, legal moves, an end; rows and history agree",
    "I4": "one claim an attempt, attempts that rise, one token and one owner at a time",
    "I5": "what was accepted came from the attempt that was current; the rest left nothing",
    "I6": "what ended well ran well, once, never two at a time of an exclusive job; tries as allowed",
    "I7": "no job before its needs; every end is what the graph makes of the others",
    "I8": "nothing waits and nothing is held once all is over",
    "I9": "topics hold what was committed, all of it and nothing else",
    "I10": "what is published or delivered twice is the same and changes nothing",
    "I11": "reading every topic once more changes nothing",
    "I12": "no claim after a cancel, no process left, every cancel applied",
    "I13": "no living attempt is taken back, no dead one is kept",
    "I14": "logs have every line once, in order, each under its own attempt",
    "I16": "everything belongs to the tenant that asked for it",
    "I18": "no job vanishes or appears, at any moment",
    "I19": "dead letters are the poison that was given, all of it and nothing else",
    "I20": "faults bit, jobs ran, all was looked at: the verdict is worth something",
    "I21": "locks, matrices and groups: never more holders at once than each of them bears, none left over",
}


def verdict(history: History) -> Verdict:
    """Judge a history."""
    facts = Facts(history)
    judged = [_judge(facts, invariant) for invariant in INVARIANTS]
    held = all(one.state != "broken" for one in judged)
    return Verdict(history.seed, history.commit, held, judged, figures(facts))


def _judge(facts: Facts, invariant: str) -> Judged:
    checks = [check for check in CHECKS if check.invariant == invariant]
    apply = [check for check in checks if not _lacking(facts, check)]
    findings = [finding for check in apply for finding in check.find(facts)]
    state: State = "broken" if findings else "held" if apply else "not judged"
    return Judged(
        invariant=invariant,
        about=INVARIANTS[invariant],
        state=state,
        found=len(findings),
        findings=[finding.text for finding in findings[:MOST_FINDINGS]],
        story=_shortest(facts, findings),
        lacks=sorted({part for check in checks for part in _lacking(facts, check)}),
    )


def _lacking(facts: Facts, check: Check) -> list[str]:
    return [part for part in check.needs if getattr(facts.history, part) is None]


def _shortest(facts: Facts, findings: Sequence[Finding]) -> list[str]:
    told = [[finding.text, *story(facts, finding)] for finding in findings[:MOST_STORIES]]
    return min(told, key=len, default=[])
