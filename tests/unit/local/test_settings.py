"""Replicas as words, and where jars are cached."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.core.errors import RejectInput
from penstock.local.settings import cache_folder, parse_replicas

KNOWN = ("advancer", "runner")


def test_every_service_has_a_count() -> None:
    assert parse_replicas((), KNOWN) == {"advancer": 1, "runner": 1}
    assert parse_replicas(("runner=3", "advancer=0"), KNOWN) == {"advancer": 0, "runner": 3}


def test_all_wrong_words_are_named_at_once() -> None:
    with pytest.raises(RejectInput) as refused:
        parse_replicas(("runer=2", "runner", "runner=-1", "runner=65"), KNOWN)
    assert len(refused.value.problems) == 4
    assert "advancer, runner" in refused.value.problems[0].hint


def test_the_cache_is_shared_by_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(tmp_path / ".penstock") == tmp_path / "home" / ".cache" / "penstock" / "jars"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(tmp_path / ".penstock") == tmp_path / "xdg" / "penstock" / "jars"


@pytest.mark.parametrize("home", [None, "", "/dev/null/home"])
def test_without_a_home_it_is_in_the_stack(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    folder = cache_folder(tmp_path / ".penstock")
    assert folder == tmp_path / ".penstock" / "cache" / "jars"
    assert folder.is_dir()
