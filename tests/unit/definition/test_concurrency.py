"""`concurrency` of the file, and what a request's git makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.core.errors import RejectInput
from penstock.definition import Plan, check, load_yaml, plan


def planned(concurrency: str, git: dict[str, Any] | None = None) -> Plan:
    text = f"concurrency: {concurrency}\njobs: {{ a: {{ run: x, locks: [z] }}, b: {{ run: x }} }}"
    return plan(check(load_yaml(text)), git=git)


@pytest.mark.parametrize(
    ("written", "group"),
    [
        ("deploy", {"group": "deploy", "cancel_in_progress": False, "queue": "all"}),
        ("{ group: a b }", {"group": "a b", "cancel_in_progress": False, "queue": "all"}),
        ("{ group: a, queue: latest }", {"group": "a", "cancel_in_progress": False, "queue": "latest"}),
        (
            "{ group: 'shop-${{ git.ref }}${{git.sha}}', cancel-in-progress: true, queue: all }",
            {"group": "shop-refs/heads/main", "cancel_in_progress": True, "queue": "all"},
        ),
        ("${{ git.branch }}", {"group": "main", "cancel_in_progress": False, "queue": "all"}),
    ],
)
def test_a_group(written: str, group: dict[str, Any]) -> None:
    made = planned(written, {"ref": "refs/heads/main", "branch": "main", "sha": None})
    hold = ("group", group["group"], 1)
    assert [job.holds for job in made.jobs] == [(("lock", "z", 1), hold), (hold,)]
    assert made.concurrency == group


def test_a_file_without_one() -> None:
    made = plan(check(load_yaml("jobs: {a: {run: x}}")))
    assert made.concurrency is None
    assert made.jobs[0].holds == ()


@pytest.mark.parametrize(
    ("git", "fault"),
    [
        (None, "a name is not empty"),
        ({"ref": " "}, "a name is not empty"),
        ({"ref": "a\nb"}, "no control characters"),
        ({"ref": "x" * 1_025}, "at most 1,024 bytes"),
    ],
)
def test_a_request_that_gives_it_no_name_is_refused(git: dict[str, Any] | None, fault: str) -> None:
    with pytest.raises(RejectInput) as caught:
        planned("'${{ git.ref }}'", git)
    (problem,) = caught.value.problems
    assert problem.path == "concurrency.group"
    assert fault in problem.message
    assert "`git`" in problem.hint


# In each: where the problem is (a ▸ before it), its path, and parts of its message and of its hint.
@pytest.mark.parametrize(
    ("marked", "path", "message", "hint"),
    [
        ("▸5", "", "expected text, got the number 5", ""),
        ("▸' '", "", "the text is empty", ""),
        ("▸\"a\\tb\"", "", "no control characters", ""),
        ("▸[a]", "", "expected text, got a list", ""),
        ("{ group: ▸}", ".group", "expected text, got nothing", ""),
        ("{ group: a, queue: ▸max }", ".queue", "expected all or latest", "did you mean all?"),
        ("{ group: a, queue: ▸single }", ".queue", "expected all or latest", "did you mean latest?"),
        ("{ group: a, queue: ▸lates }", ".queue", "expected all or latest", "did you mean latest?"),
        ("{ group: a, cancel-in-progress: ▸'yes' }", ".cancel-in-progress", "true or false", ""),
        ("{ group: a, ▸name: b }", ".name", "not a key of `concurrency`", "write `group`"),
        ("{ group: a, cancel-in-progress: \"▸${{ git.branch != 'main' }}\" }", ".cancel-in-progress",
         "not supported yet", ""),
        ("a ▸${{ git.branhc }}", "", '`git` has no "branhc" here', "did you mean `git.branch`?"),
        ("a ▸${{ git.author }}", "", '`git` has no "author" here', "it has repo, sha"),
        ("a ▸${{ github.ref }}", "", "this expression is not supported yet", "`git.…` here"),
        ("a ▸${{ matrix.a }}", "", "this expression is not supported yet", "`git.FIELD`"),
        ("${{ git.ref }} ▸${{ inputs.x }} ${{", "", "this expression is not supported yet", "`git.FIELD`"),
    ],
)  # fmt: skip
def test_each_mistake(marked: str, path: str, message: str, hint: str) -> None:
    with pytest.raises(RejectInput) as caught:
        planned(marked.replace("▸", ""), {"ref": "r"})
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (1, len("concurrency: ") + marked.index("▸") + 1)
    assert problem.path == f"concurrency{path}"
    assert message in problem.message
    assert hint in problem.hint


def test_a_group_s_name_is_compared_in_its_nfc_form() -> None:
    made = planned("café ${{ git.ref }}", {"ref": "e\u0301"})
    assert made.concurrency is not None
    assert made.concurrency["group"] == "café é"
    assert made.jobs[1].holds == (("group", "café é", 1),)


def test_a_group_needs_a_name() -> None:
    with pytest.raises(RejectInput, match="concurrency: `concurrency` needs a `group`"):
        planned("{ queue: all }")
