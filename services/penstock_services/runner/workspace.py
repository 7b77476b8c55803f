"""The folder of an attempt, and the environment that its job gets.

`JOB-ATTEMPT/` is HOME; below it `workspace/` (where steps run, the checkout of `git`) and `tmp/` (TMPDIR).
Nothing of the runner's own environment reaches a job: what it gets is listed in `base_environment`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from penstock.events.jobs import Grant
from penstock.runtime.log import logger

WORKSPACE: Final = "workspace"
TMP: Final = "tmp"
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
    """The folder of one attempt."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.root = folder / WORKSPACE
        self.tmp = folder / TMP

    @classmethod
    def create(cls, parent: Path, grant: Grant) -> Workspace:
        """Make it, empty. Raises `OSError`."""
        name = f"{grant.job_id}-{grant.attempt}"
        assert Path(name).name == name, f"{grant.job_id!r} is not a job id"
        workspace = cls(parent / name)
        workspace.home.mkdir(mode=0o700)
        workspace.root.mkdir()
        workspace.tmp.mkdir()
        return workspace

    def remove_empty(self) -> bool:
        """Remove it if the job left nothing in it: cheap enough for the event loop."""
        try:
            self.tmp.rmdir()
            self.root.rmdir()
            self.home.rmdir()
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Remove it with everything in it; may take long."""
        remove_tree(self.home)

    def keep(self) -> None:
        """Put it aside, into `kept/` of the runner's folder, for people to look at."""
        kept = self.home.parent.parent / KEPT
        try:
            kept.mkdir(mode=0o700, exist_ok=True)
            self.home.rename(kept / self.home.name)
        except OSError as error:
            log.warning("workspace not kept", path=str(self.home), error=str(error))
        else:
            log.info("workspace kept", path=str(kept / self.home.name))


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
