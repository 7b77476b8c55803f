"""The commit that is checked out where a command runs, as a request names it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from penstock.core.errors import Problem, RejectInput, StopProcess


def current_commit() -> dict[str, str]:
    """{repo, sha, ref, branch, default_branch, message, author}, without what is not known.

    `repo` is the path of the repository, for runners on this machine. Changes that are not committed are not
    part of it: that is told on stderr.

    Raises:
        RejectInput: this is no git repository, or it has no commit.
        StopProcess: there is no git command.
    """
    top = _git("rev-parse", "--show-toplevel")
    sha = _git("rev-parse", "--verify", "HEAD") if top else ""
    if not sha:
        hint = "commit first, or leave --git out"
        raise RejectInput(Problem(f"{Path.cwd()} is not in a git repository with a commit", hint=hint))
    if _git("status", "--porcelain"):
        click.echo("changes that are not committed are not part of this run", err=True)
    branch = _git("symbolic-ref", "--short", "--quiet", "HEAD")
    default = _git("symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD").partition("/")[2]
    found = {
        "repo": top,
        "sha": sha,
        "ref": f"refs/heads/{branch}" if branch else "",
        "branch": branch,
        "default_branch": default,
        "message": _git("log", "-1", "--format=%s"),
        "author": _git("log", "-1", "--format=%an"),
    }
    return {name: value for name, value in found.items() if value}


def _git(*words: str) -> str:
    """What git prints, without the line end; empty when it fails."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, check=False)
    except OSError:
        raise StopProcess("there is no git command: install git, or leave --git out") from None
    return done.stdout.decode("utf-8", "replace").rstrip("\n") if done.returncode == 0 else ""
