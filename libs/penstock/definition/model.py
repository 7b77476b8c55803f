"""A checked definition, and the plan that is made of it for one run."""

from __future__ import annotations

from typing import Any, Final, Literal, TypedDict

import msgspec

from penstock.core.lanes import Lane

# Jobs and steps are made by the thousand and are never part of a reference cycle: hence gc=False.

Condition = Literal["", "always", "failure", "success"]
"""When a job runs after its needs ended; "" is the default: all of them succeeded."""

Hold = tuple[str, str, int | None]
"""(kind, name, most): what a job must hold to run; kind is lock, matrix or group. At most so many may hold
the name at once; None: any number of those who say so, too."""

DEFAULT_POOL: Final = "default"
DEFAULT_EXECUTOR: Final = "process"
DEFAULT_TIMEOUT_SECONDS: Final = 3_600
DEFAULT_GRACE_SECONDS: Final = 30
DEFAULT_PIPELINE_NAME: Final = "pipeline"


class Resources(TypedDict, total=False):
    """What a job asks of the machine: only what was given is there."""

    cpu: float
    """Cores."""
    memory: int
    """Bytes."""
    arch: str
    """As `uname -m` has it: x86_64, aarch64."""


class ConcurrencyGroup(TypedDict):
    """The group of one pipeline, of which one runs at a time."""

    group: str
    cancel_in_progress: bool
    """Older pipelines of the group are cancelled."""
    queue: Literal["all", "latest"]
    """Which of the older ones that have not begun still run."""


class Step(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One script of a job, as it travels to the runner."""

    name: str
    run: str
    id: str = ""
    shell: str = ""
    """Empty: the job's."""
    env: dict[str, str] = {}
    """Goes over the job's."""
    continue_on_error: bool = False
    timeout: float | None = None
    """Seconds; None: only the job's timeout ends it."""
    working_directory: str = ""
    """Relative to the workspace."""


class JobSpec(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What a runner needs to run a job. In JSON, what has its default is left out."""

    steps: tuple[Step, ...] = ()
    env: dict[str, str] = {}
    """All that apply to the job, merged."""
    executor: str = DEFAULT_EXECUTOR
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    """Seconds that an attempt may run."""
    queue: float | None = None
    """Seconds that it may be QUEUED at a time; None: no limit."""
    grace: float = DEFAULT_GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL."""
    shell: str = ""
    """Empty: the executor's own default."""
    exclusive: bool = False
    """No two attempts of the job may run at once: its leases are long, and its runner keeps to them."""


class Directory(msgspec.Struct, frozen=True):
    """Where the jobs of each key of the file are."""

    first: dict[str, int]
    """Index of a job, or of the first cell of its matrix, by its normalized key; -1: it was left out."""
    cells: dict[int, range]
    """Indexes of all cells by that of the first, of jobs with a matrix."""


class Job(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One job of a checked definition, with the file's `defaults` applied."""

    name: str
    """Its key in the file; of a cell of a matrix `test (3.12, linux)`."""
    stage: str
    needs: tuple[str, ...] | None
    """As written; None where there is no `needs`, so that the stage decides."""
    pool: str
    labels: tuple[str, ...]
    """Sorted, each once."""
    lane: Lane | None
    executor: str
    shell: str
    env: dict[str, str]
    """The job's own."""
    steps: tuple[Step, ...]
    timeout_seconds: float
    queue_seconds: float | None
    grace_seconds: float
    retry_max: int
    continue_on_error: bool
    exclusive: bool
    condition: Condition
    matrix: str = ""
    """The key in the file, of a cell of a matrix."""
    resources: Resources | None = None
    holds: tuple[Hold, ...] = ()
    """Its locks by their names, then its matrix where that has `max-parallel`."""
    immediate: bool = False
    """It goes before the queue when all its locks are free."""
    fail_fast: bool = False
    """When this cell of a matrix fails, the others are cancelled."""

    @property
    def key(self) -> str:
        """Under which it stands in the file."""
        return self.matrix or self.name


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A pipeline file that was found good."""

    name: str
    """Empty where the file has none."""
    on: Any
    """As written, for the webhook door; None where the file has none."""
    env: dict[str, str]
    """For every job: `env` of the file, and `defaults.env` over it."""
    lane: Lane | None
    concurrency: ConcurrencyGroup | None
    """Its `group` as written: `${{ git.FIELD }}` is put in by `plan`."""
    jobs: tuple[Job, ...]
    """In the order of the file, matrices expanded."""
    edges: list[tuple[int, int]]
    """(parent, child) as indexes of `jobs`, stages and matrices expanded, each pair once."""


class PlannedJob(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One job as intake inserts it."""

    name: str
    stage: str
    pool: str
    labels: tuple[str, ...]
    lane: Lane
    executor: str
    condition: Condition
    continue_on_error: bool
    retry_max: int
    timeout_seconds: float
    queue_seconds: float | None
    grace_seconds: float
    needs: tuple[str, ...]
    """As written, each once; what a stage or a matrix implies is in the plan's edges only."""
    spec: dict[str, Any]
    """A `JobSpec` as JSON-able data: goes to the runner unchanged."""
    resources: Resources | None = None
    holds: tuple[Hold, ...] = ()
    """Locks by their names, then ("matrix", key, `max-parallel`), then ("group", group, 1)."""
    immediate: bool = False
    matrix: str = ""
    """Key of its matrix in the file, or empty."""
    fail_fast: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a definition consists of."""

    name: str
    jobs: list[PlannedJob]
    edges: list[tuple[int, int]]
    """(parent, child) as indexes of `jobs`."""
    concurrency: ConcurrencyGroup | None
