"""Which keys each part of a pipeline file has, which come later, and what other systems call them.

The one table of keys: the checker, its hints and the published JSON Schema are all read from it.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of object in a pipeline file."""

    title: str
    """How messages call it, with its article."""
    built: dict[str, str]
    """Each key that works, and what it does in one sentence (shown by editors)."""
    later: dict[str, str] = {}
    """Keys of the language that are refused as not supported yet, each with what to do meanwhile."""
    foreign: dict[str, str] = {}
    """Words of other systems that mean something here only."""


_FILE_WIDE: Final = {
    "env": "Environment variables: names to strings, numbers or booleans.",
    "shell": "Shell that runs each `run` text, such as bash, sh, or python.",
    "runs-on": "Which runners may take a job: {pool, labels}, or a list of labels.",
    "executor": "What runs a job: process (the default), noop (nothing, at once), or a plug-in's name.",
    "timeout": "How long an attempt may run: 15m, or {run, queue, cancel-grace}. Default 1h.",
    "retry": "How often to try again after a failure.",
    "continue-on-error": "When true, a failure does not fail what depends on it, nor the pipeline.",
    "exclusive": "When true, an attempt is dead before another of this job is given out: no two run at once.",
    "resources": "What a job needs of the machine: {cpu, memory, arch}.",
}
_JOB_LATER: Final = {
    "image": "the job runs on the runner itself; choose a runner by `runs-on`",
    "outputs": "",
    "artifacts": "",
    "cache": "",
    "services": "start them in a step",
    "environment": "",
    "idempotency-key": "",
    "secrets": "",
}

_MATRIX: Final = (
    "write `strategy: {matrix: {shard: [1, 2]}}`; each job finds its own in `${{ matrix.shard }}`"
)
_RESOURCES: Final = "write `resources: {cpu: 2, memory: 4Gi}`"

PIPELINE: Final = Place(
    title="the pipeline",
    built={
        "name": "The pipeline's name in lists and status records.",
        "on": "When a webhook starts it. Read by the webhook door only.",
        "env": _FILE_WIDE["env"] + " For every job.",
        "priority": "Lane of all jobs: critical, high, normal, or 1 to 10.",
        "concurrency": "The group of pipelines of which one runs at a time: {group, …}, or its name.",
        "stages": "Names of stages in their order: a job waits for the stage before its own.",
        "defaults": "What jobs have where they do not say otherwise.",
        "jobs": "The jobs by their names.",
    },
    foreign={
        "default": "write `defaults`",
        "triggers": "write `on`",
        "trigger": "write `on`",
        "timeout-minutes": "write `defaults: {timeout: 15m}`",
        "steps": "steps belong to a job: `jobs: {build: {steps: […]}}`",
        "pipeline": "write `jobs`, an object keyed by job name",
        "tasks": "write `jobs`, an object keyed by job name",
        "workflow": "write `on`; there are no workflow rules",
        "run-name": "write `name`",
    },
)
DEFAULTS: Final = Place(
    title="`defaults`",
    built=_FILE_WIDE,
    later=_JOB_LATER,
    foreign={"run": "GitHub's `defaults.run.shell` is `defaults.shell` here"},
)
JOB: Final = Place(
    title="a job",
    built={
        "stage": "One of `stages`: the job waits for the stage before it, unless it has `needs`.",
        "needs": "Names of the jobs that must end before this one starts.",
        "if": "When it runs after its needs ended: success() (the default), failure(), or always().",
        "priority": "Lane of this job, above what the request and the file say.",
        **_FILE_WIDE,
        "locks": "Names that no other job may hold while it runs, unless both share them: all or none.",
        "immediate": "When true, a task of a minute at most, which goes first when all its locks are free.",
        "strategy": "Makes a job of each cell of a matrix: {matrix, fail-fast, max-parallel}.",
        "run": "A script, as one step.",
        "steps": "Scripts that run one after another in one workspace.",
    },
    later=_JOB_LATER,
    foreign={
        "name": "the job's name is its key under `jobs`",
        "title": "the job's name is its key under `jobs`",
        "display-name": "the job's name is its key under `jobs`",
        "label": "the job's name is its key under `jobs`; for runner labels write `runs-on`",
        "labels": "write `runs-on: {labels: […]}`",
        "pool": "write `runs-on: {pool: …}`",
        "uses": "there are no reusable workflows; write `run` or `steps`",
        "parallel": _MATRIX,
        "parallelism": _MATRIX,
        "matrix": _MATRIX,
        "include": "`include` is a key of `strategy.matrix`",
        "concurrency": "write `locks`; `concurrency` is for the whole file",
        "concurrency-group": "write `locks`; `concurrency` is for the whole file",
        "cpus": _RESOURCES,
        "mem": _RESOURCES,
    },
)
STEP: Final = Place(
    title="a step",
    built={
        "id": "A name for other steps to refer to: letters, digits, _ and -.",
        "name": "What lists and logs call it; by default the first line of `run`.",
        "run": "The script.",
        "shell": "Shell of this step.",
        "env": "Environment variables of this step.",
        "continue-on-error": "When true, the steps after it run, and the job does not fail for it.",
        "timeout": "How long this step may run: 90s, 15m, 1h30m.",
        "working-directory": "Folder in which it runs, relative to the workspace.",
    },
    later={"if": "put the condition into the shell text, or `if` on the job"},
    foreign={
        "uses": "actions are not run; write what it does as `run`",
        "with": "actions are not run; write what it does as `run`",
        "label": "write `name`",
        "title": "write `name`",
        "needs": "`needs` belongs to the job; steps run in their order",
    },
)
TIMEOUT: Final = Place(
    title="`timeout`",
    built={
        "run": "How long an attempt may run: 15m.",
        "queue": "How long a job may wait in the queue: 2h. Default: without a limit.",
        "cancel-grace": "Seconds between SIGTERM and SIGKILL. Default 30s.",
    },
)
RETRY: Final = Place(
    title="`retry`",
    built={"max": "Further tries after the first: 0 to 20."},
    later={"on": "leave it out: with `max` every failure is retried", "backoff": ""},
    foreign={
        "when": "write `on`, which is not supported yet",
        "automatic": "write `max`",
        "limit": "write `max`",
        "attempts": "write `max`, the number of further tries after the first",
        "count": "write `max`",
    },
)
RUNS_ON: Final = Place(
    title="`runs-on`",
    built={
        "pool": "The pool whose runners may take the job. Default: default.",
        "labels": "Labels that a runner must have, all of them.",
    },
    foreign={
        "group": "write `pool`",
        "queue": "write `pool`",
        "name": "write `pool`",
        "tags": "write `labels`",
    },
)
RESOURCES: Final = Place(
    title="`resources`",
    built={
        "cpu": "Cores: 2, 0.5 or 500m.",
        "memory": "Bytes, or such as 512Mi or 4Gi.",
        "arch": "x86_64, aarch64, or another that `uname -m` has.",
    },
    foreign={
        "cpus": "write `cpu`",
        "cores": "write `cpu`",
        "mem": "write `memory`",
        "ram": "write `memory`",
        "architecture": "write `arch`",
        "platform": "write `arch`",
        "limits": "write `cpu` and `memory` at once",
        "requests": "write `cpu` and `memory` at once",
        "gpu": "choose a runner by a label: `runs-on: [gpu]`",
    },
)
LOCK: Final = Place(
    title="a lock",
    built={
        "name": "What no other job of the tenant may hold meanwhile.",
        "mode": "exclusive (the default), or shared with others who say so, too.",
    },
    foreign={"type": "write `mode`", "shared": "write `mode: shared`", "key": "write `name`"},
)
STRATEGY: Final = Place(
    title="`strategy`",
    built={
        "matrix": "Lists of values: a job each combination. `include` extends and adds, `exclude` removes.",
        "fail-fast": "When true (the default), a cell that fails cancels the others.",
        "max-parallel": "How many cells may run at once. Default: all.",
    },
    foreign={
        "parallel": "write `matrix`, or `max-parallel` for how many run at once",
        "include": "`include` is a key of `matrix`",
        "exclude": "`exclude` is a key of `matrix`",
    },
)
CONCURRENCY: Final = Place(
    title="`concurrency`",
    built={
        "group": "Its name: one pipeline of a group runs at a time. May hold `${{ git.FIELD }}`.",
        "cancel-in-progress": "When true, a new pipeline of the group cancels older ones. Default: false.",
        "queue": "all (the default): each has its turn. latest: a new one replaces those not begun.",
    },
    foreign={"name": "write `group`", "cancel": "write `cancel-in-progress`", "method": "write `queue`"},
)
PLACES: Final = (PIPELINE, JOB, STEP, TIMEOUT, RETRY, RESOURCES, STRATEGY, CONCURRENCY)
"""Where a key that stands in the wrong place may belong; `defaults` has only keys that a job has too."""

_RUN: Final = "write `run`"
_STEPS: Final = "write it as a step of its own under `steps`"
_NEEDS: Final = "write `needs`, a list of job names"
_RUNS_ON: Final = "write `runs-on`"
_CONTINUE: Final = "write `continue-on-error`"
_LOCKS: Final = "write `locks: [name]`"
_CONCURRENCY: Final = "write `concurrency: {group: …}`, a key of the pipeline"
_IF: Final = "write `if`: always(), failure() or success()"
_IMAGE: Final = "write `image`, which is not supported yet"
_TIMEOUT: Final = "write `timeout`, such as 15m"
_RETRY: Final = "write `retry: {max: 2}`"
_ENV: Final = "write `env`, an object of names to values"
_INCLUDE: Final = "a definition is one file; there is nothing to include or extend, but `defaults`"

_RUN_WORDS: Final = ("script", "command", "commands", "cmd", "sh", "bash", "exec", "args")
STANDS_FOR_RUN: Final = frozenset((*_RUN_WORDS, "uses", "with"))
"""A job or step that has one of these is not told a second time that it has no `run`."""

FOREIGN: Final[dict[str, str]] = {
    **dict.fromkeys(_RUN_WORDS, _RUN),
    **dict.fromkeys(("before-script", "after-script", "setup", "checkout"), _STEPS),
    **dict.fromkeys(("depends-on", "dependencies", "requires", "depends", "after", "wait-for"), _NEEDS),
    **dict.fromkeys(("tags", "agents", "agent", "runs", "runner", "node", "platform", "vm-image"), _RUNS_ON),
    **dict.fromkeys(("allow-failure", "soft-fail", "ignore-errors", "ignore-failure"), _CONTINUE),
    **dict.fromkeys(("resource-group", "lock", "serial", "serial-groups"), _LOCKS),
    "interruptible": "write `concurrency: {group: …, cancel-in-progress: true}`, a key of the pipeline",
    "concurrency-group": _CONCURRENCY,
    **dict.fromkeys(("when", "rules", "only", "except", "condition", "branches"), _IF),
    **dict.fromkeys(("container", "docker", "docker-image"), _IMAGE),
    **dict.fromkeys(("timeout-minutes", "timeout-in-minutes", "time-limit", "deadline"), _TIMEOUT),
    **dict.fromkeys(("retries", "max-retries", "attempts"), _RETRY),
    **dict.fromkeys(("variables", "environ", "envs", "environment-variables", "vars"), _ENV),
    **dict.fromkeys(("include", "extends", "template", "anchors", "uses"), _INCLUDE),
    **dict.fromkeys(("workdir", "cwd", "dir", "directory"), "write `working-directory`, a key of a step"),
    "permissions": "runners get no token of a forge, so there is nothing to permit",
    "fail-fast": "write `strategy: {fail-fast: …}`",
    "max-parallel": "write `strategy: {max-parallel: …}`",
    "display-name": "write `name`",
}
"""Words of GitHub, GitLab, Buildkite, Woodpecker, Azure and CircleCI, as `-` words in lower case."""
