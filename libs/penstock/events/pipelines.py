"""Records about pipelines: what clients ask for and what they are told (interface §3, §4)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from penstock.core.states import PipelineState, Reason
from penstock.events.codec import Codec

REQUESTED_TYPE: Final = "dev.penstock.pipeline.requested.v1"
STATUS_TYPE: Final = "dev.penstock.pipeline.status.v1"

Trigger = Literal["manual", "push", "pull_request", "schedule", "api"]


class Git(msgspec.Struct, frozen=True, omit_defaults=True):
    """The commit a pipeline runs for. `sha` is 40 or 64 lower-case hex digits."""

    repo: str = ""
    sha: str = ""
    ref: str = ""
    branch: str = ""
    default_branch: str = ""
    message: str = ""
    author: str = ""


class DefinitionRef(msgspec.Struct, frozen=True):
    """A definition kept in object storage under the tenant's own prefix, by its SHA-256 in hex."""

    sha256: str


class PipelineRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.pipelines.requested`, key = tenant. Exactly one of the three definitions must be given.

    `request_id` may be absent when the header `ce_id` carries it.
    """

    tenant: str
    request_id: str = ""
    pipeline_id: str = ""
    definition: dict[str, Any] | None = None
    definition_yaml: str | None = None
    definition_ref: DefinitionRef | None = None
    priority: str | int | None = None
    trigger: Trigger | None = None
    git: Git | None = None
    inputs: dict[str, str] | None = None
    env: dict[str, str] | None = None


class PipelineStatus(msgspec.Struct, frozen=True):
    """`penstock.pipelines.status`, key = pipeline id: one record a transition.

    `version` counts from 1 without gaps; `at` is RFC 3339 UTC with microseconds, database clock.
    """

    tenant: str
    pipeline_id: str
    request_id: str
    name: str
    version: int
    state: PipelineState
    previous: PipelineState | None
    terminal: bool
    reason: Reason | None
    at: str
    counts: dict[str, int]
    git: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None
    rerun_of: str | None = None


requested = Codec(PipelineRequested)
status = Codec(PipelineStatus)
