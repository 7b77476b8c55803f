from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from penstock.core.errors import StopProcess
from penstock.events.jobs import Grant
from penstock_services.runner.cgroup import ControlGroup
from penstock_services.runner.executors import (
    AnyExecutor,
    Executor,
    ExecutorPlace,
    ImmediateExecutor,
    load_executors,
)
from penstock_services.runner.processes import Guards
from penstock_services.runner.settings import PlaceSettings


def loaded(tmp_path: Path, names: Sequence[str] = ()) -> dict[str, AnyExecutor]:
    async def body() -> dict[str, AnyExecutor]:
        guards = Guards(ControlGroup(tmp_path / "group"))
        return load_executors(ExecutorPlace(tmp_path / "work", PlaceSettings(), guards), names)

    return asyncio.run(body())


def test_all_installed_ones_are_found(tmp_path: Path, new_grant: Callable[..., Grant]) -> None:
    executors = loaded(tmp_path)
    assert {"noop", "process"} <= executors.keys()
    noop, process = executors["noop"], executors["process"]
    assert isinstance(process, Executor)
    assert not isinstance(process, ImmediateExecutor)
    assert isinstance(noop, ImmediateExecutor)
    assert noop.run_now(new_grant("noop")).success


def test_only_those_asked_for_are_loaded(tmp_path: Path) -> None:
    assert loaded(tmp_path, ["noop"]).keys() == {"noop"}


def test_one_that_is_not_installed_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(StopProcess, match=r"'contaner' is not installed; there are .*process"):
        loaded(tmp_path, ["contaner"])


def test_a_plug_in_that_breaks_is_left_out_unless_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = importlib.metadata.EntryPoint("broken", "no_such_module:X", "penstock.executors")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_group: [broken])
    assert loaded(tmp_path) == {}
    with pytest.raises(StopProcess, match="no_such_module"):
        loaded(tmp_path, ["broken"])
