"""What the gateway and the `logs` service must agree on."""

from __future__ import annotations

import dataclasses

from penstock.runtime.settings import setting


@dataclasses.dataclass(frozen=True)
class LogSettings:
    """When a log is given up on."""

    log_close_seconds: float = setting(
        60.0, doc="A log whose end did not come so long after its attempt's end is closed as incomplete."
    )
