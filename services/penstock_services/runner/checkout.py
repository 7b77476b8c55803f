"""The checkout of a pipeline's commit: a script that runs as the first step of an attempt, in its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from penstock.definition.model import Step

BAD_COMMIT: Final = 3
"""Exit code when the repository answers but does not have the commit: the request's fault, not ours."""

SCRIPT: Final = f"""\
git init -q . || exit 1
echo "Fetching $CI_COMMIT_SHA from $CI_REPO"
if git fetch -q --no-tags --depth 1 -- "$CI_REPO" "$CI_COMMIT_SHA" 2>.git/penstock-fetch; then :
elif git fetch -q --tags -- "$CI_REPO" '+refs/heads/*:refs/remotes/origin/*'; then
  git cat-file -e "$CI_COMMIT_SHA^{{commit}}" 2>.git/penstock-fetch || {{
    echo "$CI_REPO has no commit $CI_COMMIT_SHA" >&2
    exit {BAD_COMMIT}
  }}
else
  cat .git/penstock-fetch >&2
  exit 1
fi
rm -f .git/penstock-fetch
git checkout -q --detach "$CI_COMMIT_SHA" || exit 1
"""
"""Repository and commit come from the environment, so neither can be taken for an option or for shell."""

ENVIRONMENT: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    # No transport that runs commands; a submodule's URL cannot smuggle one in either.
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
    # A local repository may belong to another user than the runner; nothing of it is run.
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "advice.detachedHead",
    "GIT_CONFIG_VALUE_1": "false",
}


def step(git: Mapping[str, Any] | None) -> Step | None:
    """The step that checks out the pipeline's commit; None when the request named none."""
    if not git or not git.get("repo") or not git.get("sha"):
        return None
    commit = {"CI_REPO": str(git["repo"]), "CI_COMMIT_SHA": str(git["sha"])}
    return Step(name="checkout", run=SCRIPT, env={**ENVIRONMENT, **commit}, shell="sh")  # noqa: S604 - a setting
