"""Requests to cancel (interface §4)."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.events.codec import Codec

REQUESTED_TYPE: Final = "dev.penstock.cancel.requested.v1"


class CancelRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """`penstock.cancel.requested`, key = pipeline id: end a whole pipeline, or one job of it."""

    tenant: str
    pipeline_id: str
    job_id: str = ""
    reason: str = ""
    requested_by: str = ""


requested = Codec(CancelRequested)
