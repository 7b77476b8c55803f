from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from penstock.events.jobs import Grant
from penstock_services.runner.workspace import Workspace, Workspaces, base_environment, remove_tree


class Place:
    """Workspaces in a folder, given and taken within one loop."""

    def __init__(self, tmp_path: Path, new_grant: Callable[..., Grant]) -> None:
        self.folder = tmp_path / "work"
        self.new_grant = new_grant

    def use(
        self, job: Callable[[Workspace], object], *, failed: bool = False, keep: bool = False
    ) -> Workspace:
        """A job runs in a workspace; returns the one that the next job gets."""

        async def body() -> Workspace:
            workspaces = Workspaces(self.folder, keep_failed=keep)
            workspace = workspaces.take()
            job(workspace)
            workspaces.give(workspace, self.new_grant(), failed=failed)
            again = workspaces.take()
            assert (again is workspace) == self.reused
            return again

        return asyncio.run(body())

    reused = False


@pytest.fixture
def place(tmp_path: Path, new_grant: Callable[..., Grant]) -> Place:
    return Place(tmp_path, new_grant)


def test_what_a_job_left_untouched_serves_the_next(place: Place) -> None:
    place.reused = True
    workspace = place.use(lambda workspace: workspace.root.stat())
    assert sorted(path.name for path in workspace.home.iterdir()) == ["tmp", "workspace"]


def swap(workspace: Workspace) -> None:
    workspace.tmp.rename(workspace.root / "old")
    workspace.tmp.mkdir()
    (workspace.root / "old").rmdir()


def link(workspace: Workspace) -> None:
    workspace.root.rmdir()
    workspace.root.symlink_to("/")


@pytest.mark.parametrize(
    "job",
    [
        lambda workspace: (workspace.root / "file").touch(),
        lambda workspace: (workspace.tmp / "folder").mkdir(),
        lambda workspace: (workspace.home / ".profile").touch(),
        lambda workspace: workspace.root.chmod(0o777),
        lambda workspace: shutil.rmtree(workspace.home),
        swap,
        link,
    ],
)
def test_what_a_job_changed_is_removed_and_the_next_gets_another(
    place: Place, job: Callable[[Workspace], object]
) -> None:
    workspace = place.use(job)
    assert [path.name for path in place.folder.iterdir()] == [workspace.home.name]
    assert Path("/etc").is_dir()


def test_all_of_it_goes_also_what_the_job_protected(place: Place, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)

    def protect(workspace: Workspace) -> None:
        deep = workspace.root / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "file").write_text("x")
        (workspace.root / "link").symlink_to(outside)
        deep.chmod(0o500)
        (workspace.root / "a").chmod(0)

    place.use(protect)
    assert [path.name for path in place.folder.iterdir()] == ["1"]
    assert outside.stat().st_mode & 0o777 == 0o755


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nothing")


@pytest.mark.parametrize(("failed", "kept"), [(True, 1), (False, 0)])
def test_only_failures_are_kept_for_people_to_look_at(place: Place, failed: bool, kept: int) -> None:
    place.use(lambda workspace: (workspace.root / "core").touch(), failed=failed, keep=True)
    cores = list((place.folder.parent / "kept").glob("*/workspace/core"))
    assert len(cores) == kept


def test_what_cannot_be_kept_is_no_failure(place: Place, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    place.use(lambda workspace: None, failed=True, keep=True)


def test_numbers_in_use_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    assert Workspaces(tmp_path, keep_failed=False).take().home.name == "1"


def test_the_environment_names_the_job_and_its_commit(
    tmp_path: Path, new_grant: Callable[..., Grant]
) -> None:
    workspace = Workspace(tmp_path / "home")
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
        "CI_RATE_LIMITS": str(workspace.home / "rate-limits"),
        "CI_REPO": "https://example.org/r.git",
        "CI_COMMIT_SHA": "a" * 40,
        "CI_COMMIT_BRANCH": "main",
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.tmp),
        "PATH": "/bin",
        "LANG": "C.UTF-8",
    }
