from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

Body = Callable[[Any], Coroutine[Any, Any, None]]

# Writes the ids of all its processes and `ready`, ignores SIGTERM, leaves a grandchild in a session of its
# own, with an empty environment and no pipe of ours, whose parent is gone: only the kernel knows whose it is.
STUBBORN = """
trap '' TERM
cat > orphan <<'END'
trap '' TERM
echo $$ >> pids
exec sleep 1000 </dev/null >/dev/null 2>&1
END
sh -c 'env -i setsid sh orphan </dev/null >/dev/null 2>&1 &'
sleep 1000 & echo $! >> pids
echo $$ >> pids
while [ $(wc -l < pids) -lt 3 ]; do sleep 0.01; done
cat pids
echo ready
while :; do sleep 1000; done
"""


@pytest.fixture
def on(machine: Any) -> Callable[..., None]:
    """Run a coroutine with a machine."""

    def run(body: Body, **settings: Any) -> None:
        async def whole() -> None:
            async with machine(**settings) as it:
                await body(it)

        asyncio.run(whole())

    return run


def test_success_and_both_streams_byte_for_byte(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run(r"printf 'a\000b\377\r\nno newline'; printf 'oops\n' >&2")
        assert (result.success, result.exit_code, result.reason) == (True, 0, None)
        assert output.out == b"a\0b\xff\r\nno newline"
        assert output.err == b"oops\n"

    on(body)


@pytest.mark.parametrize("code", [1, 3, 255])
def test_the_exit_code_is_told(on: Any, code: int) -> None:
    async def body(m: Any) -> None:
        result, _output = await m.run(f"exit {code}")
        assert (result.success, result.exit_code, result.reason) == (False, code, "exit-code")

    on(body)


def test_a_script_ends_at_its_first_failing_command(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("echo one\nfalse\necho two")
        assert (result.exit_code, output.out) == (1, b"one\n")

    on(body)


def test_a_signal_is_told(on: Any) -> None:
    async def body(m: Any) -> None:
        result, _output = await m.run("kill -SEGV $$")
        assert (result.success, result.exit_code, result.reason) == (False, 128 + signal.SIGSEGV, "signal")

    on(body)


def test_a_step_that_was_told_to_wait_says_so_whatever_its_end(on: Any) -> None:
    async def body(m: Any) -> None:
        say = 'echo "registry 30" >> "$CI_RATE_LIMITS"'
        result, output = await m.run(say, 'echo "hub soon" >> "$CI_RATE_LIMITS"', "exit 4")
        assert (result.exit_code, result.limited) == (4, (("registry", 30.0),))
        assert output.err.startswith(b"penstock: CI_RATE_LIMITS line 2: ")
        result, _output = await m.run('test ! -e "$CI_RATE_LIMITS"')
        assert (result.success, result.limited) == (True, ()), "each job has a file of its own"

    on(body)


def test_steps_share_the_workspace_and_stop_at_the_first_failure(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("echo data > file", "cat file", "exit 4", "echo never")
        assert (result.exit_code, output.out) == (4, b"data\n")

    on(body)


def test_a_failing_step_that_may_fail_does_not_end_the_job(on: Any) -> None:
    async def body(m: Any) -> None:
        steps = [{"name": "a", "run": "exit 4", "continue_on_error": True}, {"name": "b", "run": "echo on"}]
        result, output = await m.run(steps=steps)
        assert (result.success, result.exit_code, output.out) == (True, 0, b"on\n")

    on(body)


def test_a_job_without_steps_succeeds(on: Any) -> None:
    async def body(m: Any) -> None:
        assert (await m.run())[0].success

    on(body)


def test_nothing_of_the_runners_environment_reaches_the_job(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_KAFKA_SASL_PASSWORD", "secret")

    async def body(m: Any) -> None:
        begun = m.begin("env", env={"MINE": "käse\n2", "CI": "overridden"})
        await begun.result
        names = {line.partition(b"=")[0] for line in begun.output.out.split(b"\n") if b"=" in line}
        assert names - {b"PWD", b"SHLVL", b"_", b"OLDPWD"} == {
            b"CI", b"CI_PENSTOCK", b"CI_PIPELINE_ID", b"CI_PIPELINE_NAME", b"CI_JOB_ID", b"CI_JOB_NAME",
            b"CI_ATTEMPT", b"CI_TENANT", b"CI_WORKSPACE", b"CI_RATE_LIMITS", b"HOME", b"TMPDIR", b"PATH",
            b"LANG", b"MINE",
        }  # fmt: skip
        assert b"CI=overridden\n" in begun.output.out
        assert "MINE=käse\n2\n".encode() in begun.output.out

    on(body)


def test_a_steps_environment_goes_over_the_jobs_and_is_in_no_command_line(on: Any) -> None:
    async def body(m: Any) -> None:
        steps = [
            {
                "name": "a",
                "run": "echo $A $B; tr '\\0' ' ' < /proc/self/cmdline; cat /proc/$PPID/cmdline",
                "env": {"A": "step-secret"},
            },
            {"name": "b", "run": "echo $A"},
        ]
        _result, output = await m.run(steps=steps, env={"A": "job", "B": "both"})
        first, rest = output.out.split(b"\n", 1)
        assert first == b"step-secret both"
        assert b"step-secret" not in rest
        assert output.out.endswith(b"job\n")

    on(body)


def test_where_a_step_runs(on: Any, tmp_path: Path) -> None:
    async def body(m: Any) -> None:
        steps = [
            {"name": "a", "run": "mkdir sub; pwd"},
            {"name": "b", "run": "pwd", "working_directory": "sub"},
            {"name": "c", "run": "pwd", "working_directory": "/"},
        ]
        begun = m.begin(steps=steps)
        await begun.result
        root = f"{tmp_path}/work/0/workspace"
        assert begun.output.out.decode().split() == [root, f"{root}/sub", "/"]

    on(body)


def test_a_working_directory_that_is_not_there_is_told_in_the_log(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run(steps=[{"name": "a", "run": "true", "working_directory": "nowhere"}])
        assert (result.success, result.reason) == (False, "exit-code")
        assert b"nowhere: No such file or directory" in output.err

    on(body)


@pytest.mark.parametrize(
    ("shell", "script", "expected"),
    [
        ("bash", "set -o | grep pipefail | tr -d ' \\t'", b"pipefailon\n"),
        ("sh", "echo ${0##*/}", b"sh\n"),
        ("python3 -u {0}", "import sys; print(sys.argv)", b".../step-1"),
        ("cat", "printed, not run", b"printed, not run"),
    ],
)
def test_shells(on: Any, shell: str, script: str, expected: bytes) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run(script, shell=shell)
        assert result.success, output.err
        assert expected.removeprefix(b"...") in output.out

    on(body)


def test_a_shell_that_is_not_installed_is_told_in_the_log(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("true", shell="zsh-of-nobody")
        assert (result.exit_code, result.reason) == (127, "exit-code")
        assert b"cannot start zsh-of-nobody" in output.err

    on(body)


@pytest.mark.parametrize("spec", [{"shell": "sh 'open"}, {"env": {"A=B": "c"}}, {"env": {"A": "a\0b"}}])
def test_what_cannot_be_started_at_all_is_told_in_the_log(on: Any, spec: dict[str, Any]) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("true", **spec)
        assert (result.exit_code, result.reason) == (126, "exit-code")
        assert b"cannot start" in output.err
        assert (await m.run("true"))[0].success, "the guard is good for the next job"

    on(body)


def test_a_long_script_runs(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("# " + "x" * 200_000 + "\necho ok")
        assert (result.success, output.out) == (True, b"ok\n")

    on(body)


def test_much_output_comes_whole(on: Any) -> None:
    async def body(m: Any) -> None:
        _result, output = await m.run("seq 200000; seq 3 >&2")
        assert output.out == b"".join(b"%d\n" % n for n in range(1, 200_001))
        assert output.err == b"1\n2\n3\n"

    on(body)


def test_a_full_output_holds_the_job_back(on: Any) -> None:
    async def body(m: Any) -> None:
        begun = m.begin("yes | head -c 1000000; echo done >&2")
        begun.output.full = True
        await begun.output.until(b"y\n")
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(begun.output.out) <= 64 * 1024
        assert not begun.result.done()
        begun.output.make_room()
        assert (await begun.result).success
        assert len(begun.output.out) == 1_000_000

    on(body)


def test_signals_have_their_defaults(on: Any) -> None:
    async def body(m: Any) -> None:
        _result, output = await m.run("grep -E 'Sig(Ign|Blk)' /proc/self/status")
        blocked, ignored = (int(mask, 16) for mask in output.out.split()[1::2])
        ours = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        assert blocked == 0
        assert [number for number in ours if ignored & 1 << number - 1] == []

    on(body)


def test_the_job_has_no_descriptor_but_its_own(on: Any) -> None:
    async def body(m: Any) -> None:
        _result, output = await m.run("ls /proc/self/fd; readlink /proc/self/fd/0")
        assert output.out.split() == [b"0", b"1", b"2", b"3", b"/dev/null"], "3 is the folder that ls reads"

    on(body)


def test_a_polite_job_ends_by_sigterm(on: Any) -> None:
    async def body(m: Any) -> None:
        begun = m.begin("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done")
        await begun.output.until(b"ready\n")
        begun.stop(600)
        result = await begun.result
        assert (result.success, result.exit_code, result.stopped) == (False, 9, True)
        assert begun.output.out == b"ready\nbye\n"

    on(body)


@pytest.mark.parametrize("grace", [0, 0.2])
def test_a_stubborn_job_is_wholly_dead_when_its_end_is_told(on: Any, grace: float) -> None:
    async def body(m: Any) -> None:
        begun = m.begin(STUBBORN)
        pids = await begun.pids()
        assert len(pids) == 3
        begun.stop(grace)
        result = await begun.result
        assert alive(pids) == []
        assert (result.success, result.exit_code, result.stopped) == (False, 137, True)

    on(body)


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_everybody_is_told_to_end_once_also_who_left_the_group(on: Any) -> None:
    async def body(m: Any) -> None:
        polite = "trap 'echo told \\$0; exit' TERM; : > up-\\$0; while :; do sleep 0.01; done"
        begun = m.begin(
            "trap 'echo told main' TERM\n"
            f'setsid sh -c "{polite}" apart &\n'
            f'sh -c "{polite}" within &\n'
            # A shell that is on its way to become another program would take the signal for its own.
            "sh -c ': > up-one; exec sleep 1000' & setsid sh -c ': > up-two; exec sleep 1000' &\n"
            "for n in apart within one two; do until [ -e up-$n ]; do sleep 0.01; done; done\n"
            "echo ready; wait"
        )
        await begun.output.until(b"ready\n")
        begun.stop(600)
        assert (await begun.result).stopped
        told = [line for line in begun.output.out.split(b"\n") if line.startswith(b"told")]
        assert sorted(told) == [b"told apart", b"told main", b"told within"]

    on(body)


def test_what_a_job_leaves_behind_dies_with_it(on: Any) -> None:
    async def body(m: Any) -> None:
        script = (
            "env -i setsid sh -c 'echo $$ > pid; exec sleep 1000' & while [ ! -s pid ]; do sleep 0.01; done; "
        )
        begun = m.begin(script + "cat pid; echo ready")
        pids = await begun.pids()
        result = await begun.result
        assert result.success
        assert len(pids) == 1
        assert alive(pids) == []

    on(body)


def test_a_service_started_by_a_step_lives_until_the_last(on: Any) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("sleep 1000 & echo $! > pid", "kill -0 $(cat pid) && cat pid")
        assert result.success
        assert alive([int(output.out)]) == []

    on(body)


def test_a_fork_storm_is_stopped(on: Any) -> None:
    async def body(m: Any) -> None:
        storm = (
            "f() { n=$(($1 - 1)); [ $n -le 0 ] || { setsid sh -c \"sleep 1000\" & f $n; }; }; trap '' TERM; "
        )
        begun = m.begin(storm + "f 60; echo ready; while :; do sleep 1000 & sleep 0.001; done")
        await begun.output.until(b"ready\n")
        begun.stop(0)
        assert (await begun.result).stopped

    on(body)


def test_a_stop_between_two_steps_starts_nothing_more(on: Any) -> None:
    async def body(m: Any) -> None:
        begun = m.begin("echo ready", "echo second")
        await asyncio.sleep(0)
        begun.stop(5)
        result = await begun.result
        assert (result.success, result.stopped) == (False, True)
        assert b"second" not in begun.output.out

    on(body)


def test_a_stop_that_comes_too_late_changes_nothing(on: Any) -> None:
    async def body(m: Any) -> None:
        begun = m.begin("true")
        assert (await begun.result).success
        begun.stop(0)
        assert (await m.run("true"))[0].success

    on(body)


def test_a_step_that_takes_too_long_is_a_run_timeout(on: Any) -> None:
    async def body(m: Any) -> None:
        steps = [
            {"name": "slow", "run": "sleep 1000", "timeout": 0.05, "continue_on_error": True},
            {"name": "next", "run": "echo next"},
            {"name": "slow", "run": "sleep 1000", "timeout": 0.05},
            {"name": "never", "run": "echo never"},
        ]
        result, output = await m.run(steps=steps)
        assert (result.success, result.reason, result.stopped) == (False, "run-timeout", False)
        assert result.exit_code == 128 + signal.SIGTERM
        assert output.out == b"next\n"

    on(body)


def test_a_job_that_kills_its_guard_dies_all_the_same(on: Any) -> None:
    async def body(m: Any) -> None:
        script = "setsid sleep 1000 & echo $!; echo $$; echo ready; kill -9 $PPID; sleep 1000"
        begun = m.begin(script)
        pids = await begun.pids()
        result = await begun.result
        assert (result.success, result.reason) == (False, "infra-error")
        assert len(pids) == 2
        assert alive(pids) == []
        assert b"guards this job was killed" in begun.output.err
        assert (await m.run("true"))[0].success

    on(body)


def test_other_jobs_go_on_when_a_guard_is_killed(on: Any) -> None:
    async def body(m: Any) -> None:
        other = m.begin("echo ready; while [ ! -e go ]; do sleep 0.01; done; echo went on")
        await other.output.until(b"ready\n")
        await m.run("kill -9 $PPID; sleep 1000")
        (m.folder / "work" / "0" / "workspace" / "go").touch()
        assert (await other.result).success
        assert other.output.out == b"ready\nwent on\n"

    on(body)


def test_closing_the_guards_kills_what_runs(machine: Any) -> None:
    async def whole() -> None:
        async with machine() as m:
            begun = m.begin("setsid sleep 1000 & echo $!; echo $$; echo ready; sleep 1000")
            pids = await begun.pids()
            begun.result.cancel()
        assert alive(pids) == []

    asyncio.run(whole())


def test_the_workspace_is_removed(on: Any, tmp_path: Path) -> None:
    async def body(m: Any) -> None:
        await m.run("mkdir -p a/b; touch a/b/c; chmod 500 a/b")
        await m.run("touch x; exit 1")
        while left(tmp_path / "work"):  # noqa: ASYNC110 - files go in the background and nobody is told
            await asyncio.sleep(0.01)

    on(body)


def test_the_workspace_of_a_failure_is_kept_on_request(on: Any, tmp_path: Path) -> None:
    async def body(m: Any) -> None:
        await m.run("touch good")
        begun = m.begin("touch evidence; exit 1")
        await begun.result
        kept = list((tmp_path / "kept").iterdir())
        assert [path.name for path in kept] == [f"{begun.grant.job_id}-1"]
        assert (kept[0] / "workspace" / "evidence").exists()

    on(body, keep_workspace="failed")


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository, the id of its first commit, and of its last one."""
    path = tmp_path / "räpo with blank"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **{f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    path.mkdir()
    git("init", "-q", "-b", "main")
    ids = []
    for text in ("one", "two"):
        (path / "file").write_text(text)
        git("add", "file")
        git("commit", "-q", "-m", text)
        ids.append(git("rev-parse", "HEAD"))
    return path, ids[0], ids[1]


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_commit_is_checked_out(
    on: Any, repository: tuple[Path, str, str], which: int, scheme: str
) -> None:
    async def body(m: Any) -> None:
        sha = repository[which]
        result, output = await m.run(
            "cat file; echo; git rev-parse HEAD", git={"repo": f"{scheme}{repository[0]}", "sha": sha}
        )
        assert result.success, output.err
        text = "one" if which == 1 else "two"
        assert output.out.endswith(f"\n{text}\n{sha}\n".encode())

    on(body)


def test_a_commit_that_is_not_there_is_the_jobs_failure(on: Any, repository: tuple[Path, str, str]) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("echo never", git={"repo": str(repository[0]), "sha": "0" * 40})
        assert (result.success, result.reason) == (False, "exit-code")
        assert b"has no commit 0000" in output.err
        assert b"never" not in output.out

    on(body)


def test_a_repository_that_does_not_answer_is_an_infra_error(on: Any, tmp_path: Path) -> None:
    async def body(m: Any) -> None:
        result, output = await m.run("echo never", git={"repo": str(tmp_path / "none"), "sha": "0" * 40})
        assert (result.success, result.reason) == (False, "infra-error")
        assert b"does not" in output.err

    on(body)


@pytest.mark.parametrize("repo", ["--upload-pack=touch owned", "ext::sh -c touch% owned"])
def test_a_repository_name_cannot_run_commands(on: Any, tmp_path: Path, repo: str) -> None:
    async def body(m: Any) -> None:
        result, _output = await m.run("true", git={"repo": repo, "sha": "0" * 40})
        assert result.reason == "infra-error"

    on(body, keep_workspace="failed")
    assert not list(tmp_path.rglob("owned"))
