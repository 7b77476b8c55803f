from __future__ import annotations

from pathlib import Path

import pytest

from penstock.core.errors import StopProcess
from penstock_services.runner.folder import StateFolder, remove_all


def test_runners_without_a_name_take_the_first_free_folder(tmp_path: Path) -> None:
    first = StateFolder.claim(str(tmp_path), "")
    second = StateFolder.claim(str(tmp_path), "")
    assert [first.path.name, second.path.name] == ["runner-0", "runner-1"]
    first.release()
    again = StateFolder.claim(str(tmp_path), "")
    assert again.path.name == "runner-0"
    again.release()
    second.release()


def test_a_name_is_used_once_at_a_time(tmp_path: Path) -> None:
    first = StateFolder.claim(str(tmp_path), "blue")
    with pytest.raises(StopProcess, match="PENSTOCK_INSTANCE"):
        StateFolder.claim(str(tmp_path), "blue")
    first.release()
    StateFolder.claim(str(tmp_path), "blue").release()


def test_a_folder_that_cannot_be_made_says_which_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StopProcess, match="PENSTOCK_STATE_DIR"):
        StateFolder.claim(str(tmp_path / "file"), "")


def test_what_dead_attempts_left_is_found_and_removed(tmp_path: Path) -> None:
    folder = StateFolder.claim(str(tmp_path), "")
    assert folder.leftovers() == []
    (folder.work / "job-1" / "workspace").mkdir(parents=True)
    left = folder.leftovers()
    assert [path.name for path in left] == ["job-1"]
    remove_all(left)
    assert folder.leftovers() == []
    folder.release()
