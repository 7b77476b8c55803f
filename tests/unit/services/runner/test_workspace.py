from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.events.jobs import Grant
from penstock_services.runner.workspace import Workspace, base_environment, remove_tree


@pytest.fixture
def workspace(tmp_path: Path, new_grant: Callable[..., Grant]) -> Workspace:
    (tmp_path / "work").mkdir()
    return Workspace.create(tmp_path / "work", new_grant())


def test_an_empty_one_goes_at_once_one_with_content_does_not(workspace: Workspace) -> None:
    assert workspace.root.is_dir()
    assert workspace.tmp.is_dir()
    assert workspace.remove_empty()
    assert not workspace.home.exists()


def test_all_content_goes_also_what_the_job_protected(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    deep = workspace.root / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (workspace.root / "link").symlink_to(outside)
    deep.chmod(0o500)
    (workspace.root / "a").chmod(0)
    assert not workspace.remove_empty()
    workspace.remove()
    assert not workspace.home.exists()
    assert outside.stat().st_mode & 0o777 == 0o755


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")


def test_a_kept_one_is_put_aside(workspace: Workspace, tmp_path: Path) -> None:
    (workspace.root / "core").write_text("x")
    workspace.keep()
    assert (tmp_path / "kept" / workspace.home.name / "workspace" / "core").read_text() == "x"
    assert not workspace.home.exists()
    workspace.keep()


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, new_grant: Callable[..., Grant]) -> None:
    bad = msgspec.structs.replace(new_grant(), job_id="../x")
    with pytest.raises(AssertionError, match="not a job id"):
        Workspace.create(tmp_path, bad)


def test_the_environment_names_the_job_and_its_commit(
    workspace: Workspace, new_grant: Callable[..., Grant]
) -> None:
    git = {"repo": "https://example.org/r.git", "sha": "a" * 40, "branch": "main", "ref": "", "message": "hi"}
    grant = msgspec.structs.replace(new_grant(attempt=2), git=git, pipeline_name="nightly")
    environment = base_environment(grant, workspace, "/bin")
    assert environment == {
        "CI": "true",
        "CI_PENSTOCK": "true",
        "CI_PIPELINE_ID": grant.pipeline_id,
        "CI_PIPELINE_NAME": "nightly",
        "CI_JOB_ID": grant.job_id,
        "CI_JOB_NAME": "a job",
        "CI_ATTEMPT": "2",
        "CI_TENANT": "default",
        "CI_WORKSPACE": str(workspace.root),
        "CI_REPO": "https://example.org/r.git",
        "CI_COMMIT_SHA": "a" * 40,
        "CI_COMMIT_BRANCH": "main",
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.tmp),
        "PATH": "/bin",
        "LANG": "C.UTF-8",
    }
