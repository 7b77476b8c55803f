"""How a runner and the services talk: one interface for all transports.

Everything a runner says is level-triggered or repeated until it is answered, so a transport need not be
reliable: it says honestly what was not delivered, by `RetryLater`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.events.jobs import Reports
from penstock.events.logs import FrameHead
from penstock.events.workers import Control, Grants, Heartbeat, Offer

OnGrants = Callable[[Grants], None]
OnControl = Callable[[Control], None]
OnMoved = Callable[[], None]
"""What was delivered before may be lost as a whole: its carrier began anew."""


class Transport(Protocol):
    """Each call returns once its records are where no crash of the runner loses them.

    All of them raise `RetryLater` when that is not so; some records may have been delivered all the same.
    """

    async def start(self, on_grants: OnGrants, on_control: OnControl, on_moved: OnMoved) -> None:
        """Listen: from its return on no grant and no control record of this session is missed.

        The callbacks run in the event loop's thread.

        Raises:
            StopProcess: the services cannot be reached as configured.
        """
        ...

    async def watch(self) -> None:
        """Never returns; raises what listening ended with, if it ends by itself."""
        ...

    async def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Tell the whole truth about the session."""
        ...

    async def offer(self, offer: Offer) -> None:
        """Tell what changed since the last offer."""
        ...

    async def reports(self, reports: Sequence[Reports]) -> None:
        """Tell of attempts, a record a pipeline."""
        ...

    async def frames(self, frames: Sequence[tuple[FrameHead, bytes]]) -> None:
        """Deliver log frames of one attempt, in this order: head and compressed lines."""
        ...

    async def close(self) -> None:
        """Deliver what is in flight, as far as that goes in a few seconds, and let go."""
        ...
