"""The folders of attempts, and the environment that a job gets.

`work/N/` is HOME; below it `workspace/` (where steps run, the checkout of `git`) and `tmp/` (TMPDIR). A job
finds all of it empty. Making and removing folders costs a file system more than starting a process does, so
those that a job left untouched serve the next one.

Nothing of the runner's own environment reaches a job: what it gets is listed in `base_environment`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from penstock.events.jobs import Grant
from penstock.runtime.log import logger

KEPT: Final = "kept"

_GIT_VARIABLES: Final = {
    "CI_REPO": "repo",
    "CI_COMMIT_SHA": "sha",
    "CI_COMMIT_REF": "ref",
    "CI_COMMIT_BRANCH": "branch",
    "CI_DEFAULT_BRANCH": "default_branch",
}

log = logger(__name__)


class Workspace:
    """The folders of one attempt."""

    def __init__(self, home: Path) -> None:
        """Make them. Raises `OSError`."""
        self.home = home
        self.root = home / "workspace"
        self.tmp = home / "tmp"
        self.rate_limits = home / "rate-limits"
        """Nobody makes it but a step that was told to wait (`rate_limits`)."""
        home.mkdir(mode=0o700)
        self.root.mkdir()
        self.tmp.mkdir()
        self._made = self._marks()

    def untouched(self) -> bool:
        """Whether they are as they were made: the same ones, empty, and never changed.

        The time of an inode's last change cannot be set by a job, but it counts in ticks of the kernel: what
        was changed in the tick in which it was made shows by its content.
        """
        try:
            folders = (self.home, self.root, self.tmp)
            content = [os.listdir(folder) for folder in folders]  # noqa: PTH208 - the cheapest way
            return self._marks() == self._made and [len(names) for names in content] == [2, 0, 0]
        except OSError:
            return False

    def _marks(self) -> list[tuple[int, int, int, int]]:
        marks = [os.lstat(folder) for folder in (self.home, self.root, self.tmp)]
        return [(mark.st_ino, mark.st_mode, mark.st_nlink, mark.st_ctime_ns) for mark in marks]


class Workspaces:
    """The workspaces of a runner. `keep_failed`: those of failed attempts are put aside into `kept/`."""

    def __init__(self, folder: Path, *, keep_failed: bool) -> None:
        """Raises `OSError` when the folder cannot be made."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._keep_failed = keep_failed
        self._idle: list[Workspace] = []
        self._numbers = itertools.count()
        self._removals: set[asyncio.Task[None]] = set()

    def take(self) -> Workspace:
        """An empty one. Raises `OSError`."""
        if self._idle:
            return self._idle.pop()
        while True:
            # An earlier process may have left one of this number, which is being removed.
            with contextlib.suppress(FileExistsError):
                return Workspace(self._folder / str(next(self._numbers)))

    def give(self, workspace: Workspace, grant: Grant, *, failed: bool) -> None:
        """The attempt ended."""
        if failed and self._keep_failed:
            self._keep(workspace, grant)
        elif workspace.untouched():
            self._idle.append(workspace)
        else:
            # Nobody needs to wait until a job's files are gone.
            removal = asyncio.to_thread(remove_tree, workspace.home)
            task = asyncio.get_running_loop().create_task(removal)
            self._removals.add(task)
            task.add_done_callback(self._removals.discard)

    def _keep(self, workspace: Workspace, grant: Grant) -> None:
        kept = self._folder.parent / KEPT
        place = kept / f"{grant.job_id}-{grant.attempt}"
        try:
            kept.mkdir(mode=0o700, exist_ok=True)
            workspace.home.rename(place)
        except OSError as error:
            log.warning("workspace not kept", path=str(workspace.home), error=str(error))
        else:
            log.info("workspace kept", path=str(place))


def remove_tree(folder: Path) -> None:
    """Remove a folder also where jobs took away their own right to write; what cannot go is logged."""
    for attempt in range(2):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            if attempt:
                log.warning("folder not removed", path=str(folder), error=str(error))
                return
            _make_writable(folder)


def _make_writable(folder: Path) -> None:
    """Give the owner all rights on every folder; a link is never followed, it may lead anywhere."""
    _own(folder)
    for parent, folders, _files in os.walk(folder):
        for name in folders:
            _own(Path(parent, name))


def _own(folder: Path) -> None:
    if not folder.is_symlink():
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IRWXU)


def base_environment(grant: Grant, workspace: Workspace, path: str) -> dict[str, str]:
    """All that a job finds in its environment before its own `env` goes over it."""
    environment = {
        "CI": "true",
        "CI_PENSTOCK": "true",
        "CI_PIPELINE_ID": grant.pipeline_id,
        "CI_PIPELINE_NAME": grant.pipeline_name,
        "CI_JOB_ID": grant.job_id,
        "CI_JOB_NAME": grant.name,
        "CI_ATTEMPT": str(grant.attempt),
        "CI_TENANT": grant.tenant,
        "CI_WORKSPACE": str(workspace.root),
        "CI_RATE_LIMITS": str(workspace.rate_limits),
        "HOME": str(workspace.home),
        "TMPDIR": str(workspace.tmp),
        "PATH": path,
        "LANG": "C.UTF-8",
    }
    git = grant.git or {}
    for variable, field in _GIT_VARIABLES.items():
        if git.get(field):
            environment[variable] = str(git[field])
    return environment
