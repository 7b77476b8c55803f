"""Jobs as processes of this machine: a workspace, the checkout, then step after step in a shell."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import shutil
from typing import Final

import msgspec

from penstock.core.states import Reason
from penstock.definition.model import JobSpec, Step
from penstock.events.jobs import Grant
from penstock.runtime.log import logger
from penstock_services.runner import checkout, rate_limits
from penstock_services.runner.executors import ExecutorPlace, Output, Result
from penstock_services.runner.pipes import Pipes
from penstock_services.runner.processes import Ended, Guard, GuardLost
from penstock_services.runner.processes import Step as Spawn
from penstock_services.runner.session import Key
from penstock_services.runner.workspace import Workspace, Workspaces, base_environment

SHELLS: Final[dict[str, tuple[str, ...]]] = {
    "": ("sh", "-e"),
    "sh": ("sh", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
}
"""Other shells are commands that are given the script as a file, for `{0}` or as their last argument."""
ARGUMENT_CHARACTERS: Final = 32 * 1024
"""A longer script goes by a file: one argument may have 128 KiB."""
SIGNALLED: Final = 128
"""An exit code is this plus the number of the signal that ended the step."""
CANNOT_RUN: Final = 126
NOT_FOUND: Final = 127
OVERDUE_TEXT: Final = (
    b"penstock: this exclusive job was stopped before its lease could end: its runner had no answer in time\n"
)
_OUT_OF_RESOURCES: Final = frozenset((errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE))

log = logger(__name__)


class _Running:
    """An attempt while it runs: how to stop it."""

    __slots__ = ("grace", "guard", "until")

    def __init__(self, until: float | None) -> None:
        self.grace: float | None = None
        """Set by a stop order."""
        self.until = until
        """How long an exclusive attempt may run."""
        self.guard: Guard | None = None
        """While a step runs."""

    def stop(self, grace: float) -> None:
        self.grace = grace if self.grace is None else min(grace, self.grace)
        if self.guard is not None:
            self.guard.stop(grace)

    def allow(self, until: float) -> None:
        self.until = until
        if self.guard is not None:
            self.guard.allow(until)


class ProcessExecutor:
    """Runs each step in a session of its own, below a guard that leaves none of its processes alive."""

    def __init__(self, place: ExecutorPlace) -> None:
        self._place = place
        self._workspaces = Workspaces(place.folder, keep_failed=place.settings.keep_workspace == "failed")
        self._running: dict[Key, _Running] = {}
        self._allowed: dict[Key, float] = {}

    def stop(self, grant: Grant, grace: float) -> None:
        """See `Executor.stop`."""
        running = self._running.get((grant.job_id, grant.attempt))
        if running is not None:
            running.stop(grace)

    def allow(self, grant: Grant, until: float) -> None:
        """See `Executor.allow`."""
        key = (grant.job_id, grant.attempt)
        if running := self._running.get(key):
            running.allow(until)
        else:
            self._allowed[key] = until

    async def run(self, grant: Grant, output: Output) -> Result:
        """See `Executor.run`."""
        key = (grant.job_id, grant.attempt)
        running = self._running[key] = _Running(self._allowed.pop(key, None))
        try:
            spec = msgspec.convert(grant.spec, JobSpec)
            workspace = self._workspaces.take()
            failed = True
            try:
                result = await self._run_guarded(grant, spec, workspace, running, output)
                failed = not result.success
                return result
            finally:
                self._workspaces.give(workspace, grant, failed=failed)
        finally:
            del self._running[key]

    async def _run_guarded(
        self, grant: Grant, spec: JobSpec, workspace: Workspace, running: _Running, output: Output
    ) -> Result:
        steps = _Steps(grant, spec, workspace, self._place.settings.job_path, output)
        pipes = Pipes(output)
        try:
            guard = self._place.guards.take()
            try:
                pipes.hand_to(guard)
                result = await steps.run(guard, running)
                limited = rate_limits.read(workspace.rate_limits, output)
                result = msgspec.structs.replace(result, limited=limited) if limited else result
            except GuardLost:
                log.warning("guard lost", job_id=grant.job_id, attempt=grant.attempt)
                await self._place.guards.bury(guard)
                output.write("stderr", b"penstock: the process that guards this job was killed\n")
                return Result(success=False, reason="infra-error", stopped=running.grace is not None)
            except BaseException:
                await self._place.guards.bury(guard)
                raise
            self._place.guards.give(guard)
            return result
        finally:
            pipes.close()


class _Steps:
    """The steps of one attempt, one after the other, until one fails."""

    def __init__(self, grant: Grant, spec: JobSpec, workspace: Workspace, path: str, output: Output) -> None:
        self._spec = spec
        self._workspace = workspace
        self._output = output
        self._environment = {**base_environment(grant, workspace, path), **spec.env}
        self._steps = list(spec.steps)
        self._checkout = checkout.step(grant.git)
        if self._checkout is not None:
            self._steps.insert(0, self._checkout)

    async def run(self, guard: Guard, running: _Running) -> Result:
        """Run them; when this returns, no process of the attempt lives."""
        result = Result(success=True, exit_code=0)
        dead = False
        for number, step in enumerate(self._steps, 1):
            if running.grace is not None:
                result = Result(success=False, exit_code=result.exit_code, reason="cancelled", stopped=True)
                break
            ended = await self._run_step(step, number, guard, running)
            dead = ended.dead
            result = self._judge(step, ended, ordered=running.grace is not None)
            if not result.success and (result.stopped or not step.continue_on_error):
                break
            result = Result(success=True, exit_code=0)
        if not dead:
            await guard.finish()
        return result

    async def _run_step(self, step: Step, number: int, guard: Guard, running: _Running) -> Ended:
        try:
            spawn = self._spawn(step, number, running.until)
        except ValueError as error:
            return Ended(failed=errno.EINVAL, text=f"cannot start {step.shell!r}: {error}")
        timer: asyncio.TimerHandle | None = None
        if step.timeout is not None:
            timer = asyncio.get_running_loop().call_later(step.timeout, guard.stop, self._spec.grace)
        running.guard = guard
        try:
            return await guard.run(spawn)
        finally:
            running.guard = None
            if timer is not None:
                timer.cancel()

    def _spawn(self, step: Step, number: int, until: float | None) -> Spawn:
        environment = {**self._environment, **step.env}
        cwd = str(self._workspace.root / step.working_directory)
        shell = step.shell or self._spec.shell
        argv = self._command(shell, step.run, number)
        path = argv[0]
        if path == "sh":
            path = "/bin/sh"
        elif "/" not in path:
            path = shutil.which(path, path=environment.get("PATH", os.defpath)) or path
        last = number == len(self._steps)
        return Spawn(path, argv, environment, cwd, last, until, self._spec.grace)

    def _command(self, shell: str, script: str, number: int) -> list[str]:
        """What to start. Raises `ValueError` when the shell's command line is not one."""
        known = SHELLS.get(shell)
        if known is not None and len(script) < ARGUMENT_CHARACTERS:
            return [*known, "-c", script]
        file = self._workspace.home / f"step-{number}"
        file.write_text(script, encoding="utf-8")
        words = known or shlex.split(shell)
        if any("{0}" in word for word in words):
            return [word.replace("{0}", str(file)) for word in words]
        return [*words, str(file)]

    def _judge(self, step: Step, ended: Ended, *, ordered: bool) -> Result:
        """The result of the attempt, if it ended with this step. `ordered`: it had been told to stop."""
        if ended.overdue:
            self._output.write("stderr", OVERDUE_TEXT)
            return Result(success=False, reason="worker-lost", stopped=True)
        if ended.failed is not None:
            self._output.write("stderr", f"penstock: {ended.text}\n".encode())
            if ended.failed in _OUT_OF_RESOURCES:
                return Result(success=False, reason="infra-error")
            code = NOT_FOUND if ended.failed == errno.ENOENT else CANNOT_RUN
            return Result(success=False, exit_code=code, reason="exit-code")
        code = os.waitstatus_to_exitcode(ended.exited)
        exit_code = code if code >= 0 else SIGNALLED - code
        if ended.stopped:
            reason: Reason = "cancelled" if ordered else "run-timeout"
            return Result(success=False, exit_code=exit_code, reason=reason, stopped=ordered)
        if code == 0:
            return Result(success=True, exit_code=0)
        if step is self._checkout and code != checkout.BAD_COMMIT:
            return Result(success=False, exit_code=exit_code, reason="infra-error")
        return Result(success=False, exit_code=exit_code, reason="exit-code" if code > 0 else "signal")
