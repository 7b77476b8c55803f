from __future__ import annotations

import threading
from typing import Final

import pytest

from penstock_services.intake import references
from penstock_services.intake.references import KEPT_SECONDS, Reference, References

NOW: Final = 1_000_000.0
SLOW: Final[Reference] = ("alice", "aa")
QUICK: Final[Reference] = ("bob", "bb")


class Shelf:
    """Alice's definition comes when `come` is set, and may be an error."""

    def __init__(self, slow: bytes | Exception) -> None:
        self._slow = slow
        self.come = threading.Event()
        self.asked: list[str] = []

    def definition(self, tenant: str, _sha256: str) -> bytes | None:
        self.asked.append(tenant)
        if tenant == "bob":
            return b"quick"
        self.come.wait()
        if isinstance(self._slow, Exception):
            raise self._slow
        return self._slow


@pytest.fixture(params=["a definition", "an error"])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    return Shelf(b"slow" if request.param == "a definition" else ValueError("a broken object"))


def answer(reading: References, now: float) -> bytes | str | None:
    """What Alice is told."""
    try:
        return reading.read([SLOW], now)[SLOW]
    except ValueError as error:
        return str(error)


def put_off(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> References:
    """Alice's request was put off; her answer came while only Bob's was handled, and he has his."""
    monkeypatch.setattr(references, "THREADS", 1)  # Bob's answer comes after hers.
    monkeypatch.setattr(references, "WAIT_SECONDS", 0.01)
    reading = References(shelf)
    assert reading.read([SLOW], NOW) == {}
    shelf.come.set()
    found: dict[Reference, bytes | None] = {}
    while not found:
        found = reading.read([QUICK], NOW)
    assert found == {QUICK: b"quick"}
    return reading


def test_an_answer_is_told_to_those_alone_who_want_it(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = put_off(shelf, monkeypatch)
    assert reading.read([], NOW) == {}
    assert answer(reading, NOW) in (b"slow", "a broken object")
    assert shelf.asked == ["alice", "bob"]


def test_an_answer_that_nobody_fetches_is_dropped_and_asked_for_anew(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = put_off(shelf, monkeypatch)
    assert reading.read([], NOW + KEPT_SECONDS) == {}
    monkeypatch.setattr(references, "WAIT_SECONDS", 30.0)
    assert answer(reading, NOW + KEPT_SECONDS) in (b"slow", "a broken object")
    assert shelf.asked == ["alice", "bob", "alice"]
