"""The command: what it refuses before anything is started, and workloads without a stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench import __main__ as bench
from bench.door import percentile
from bench.workloads import OWN, PURE, SEVERAL, WORKLOADS


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["bench", *words])
    return bench.main()


def test_every_name_is_in_one_table() -> None:
    names = [*WORKLOADS, *OWN, *SEVERAL, *PURE]
    assert len(names) == len(set(names))


def test_a_workload_without_a_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pure(*, small: bool) -> dict[str, Any]:
        return {"n": 10 if small else 100}

    monkeypatch.setitem(PURE, "pure", pure)
    assert run(monkeypatch, "pure", "--small") == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["id"], line["n"], line["small"]) == ("pure", 10, True)
    assert "commit" in line


def test_flame_pictures_without_py_spy_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_words, **_more: None)
    assert run(monkeypatch, "B1", "--flame", str(tmp_path)) == 1
    assert "py-spy, which is not installed" in capsys.readouterr().err


def test_flame_pictures_of_what_has_no_stack_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_words, **_more: "py-spy")
    assert run(monkeypatch, "scaling", "--flame", str(tmp_path)) == 1
    assert "not for scaling" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value
