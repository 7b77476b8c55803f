"""Settings of a runner; each field is the variable `PENSTOCK_` plus its name in capitals."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import KafkaSettings, ProcessSettings, TimingSettings, setting
from penstock_services.runner.session import UNCONFIRMED_SECONDS


@dataclasses.dataclass(frozen=True)
class OfferSettings:
    """What the runner offers to dispatchers."""

    pool: str = setting("default", doc="The pool whose jobs this runner takes.")
    slots: int = setting(
        8, doc="Attempts that may run at once; 0: it takes none and only sends what its folder still has."
    )
    labels: tuple[str, ...] = setting((), doc="Labels that jobs may ask for, comma separated.")
    name: str = setting("", doc="The runner's name in statuses; host and state folder when empty.")
    look_ahead: int = setting(
        512, doc="Attempts accepted beyond the free slots; more are given back at once."
    )
    executors: tuple[str, ...] = setting(
        (), doc="Executors to offer, comma separated; all installed if empty."
    )

    def __post_init__(self) -> None:
        if self.slots < 0:
            raise ValueError(f"PENSTOCK_SLOTS={self.slots} must not be negative")
        if self.look_ahead < 0:
            raise ValueError(f"PENSTOCK_LOOK_AHEAD={self.look_ahead} must not be negative")


@dataclasses.dataclass(frozen=True)
class PlaceSettings:
    """Where the runner keeps its files, and what it gives to jobs."""

    state_dir: str = setting(
        ".penstock/runner", doc="Each runner takes a folder of its own below: journal, spool, workspaces."
    )
    keep_workspace: str = setting(
        "never", doc="`never`, or `failed`: workspaces of failed attempts are kept."
    )
    job_path: str = setting(
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", doc="PATH of jobs that set none."
    )

    def __post_init__(self) -> None:
        if self.keep_workspace not in ("never", "failed"):
            raise ValueError(f"PENSTOCK_KEEP_WORKSPACE={self.keep_workspace!r} is neither never nor failed")


@dataclasses.dataclass(frozen=True)
class DeliverySettings:
    """How reports and logs are delivered, and how the runner ends."""

    report_retry_seconds: float = setting(5.0, doc="A report without `settled` is sent again after so long.")
    frame_retry_seconds: float = setting(
        180.0, doc="A log frame without `stored` is sent again after so long."
    )
    spool_bytes: int = setting(
        256 * 1024 * 1024, doc="Log bytes waiting for `stored`; beyond it jobs' output is not read."
    )
    unconfirmed_seconds: float = setting(
        UNCONFIRMED_SECONDS, doc="Without a confirmed heartbeat for so long, running jobs are stopped."
    )
    drain_seconds: float = setting(30.0, doc="How long running jobs may go on after SIGTERM.")
    drain_grace_seconds: float = setting(5.0, doc="At most the grace of jobs that are stopped by draining.")


@dataclasses.dataclass(frozen=True)
class RunnerSettings:
    """All of a runner's settings."""

    process: ProcessSettings
    kafka: KafkaSettings
    timing: TimingSettings
    offer: OfferSettings
    place: PlaceSettings
    delivery: DeliverySettings

    def __post_init__(self) -> None:
        least, given = self.timing.session_ttl_seconds, self.delivery.unconfirmed_seconds
        if given < least:
            raise ValueError(
                f"PENSTOCK_UNCONFIRMED_SECONDS={given:g} must be at least"
                f" PENSTOCK_SESSION_TTL_SECONDS={least:g}"
            )
