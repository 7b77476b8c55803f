"""The workloads: name -> function -> figures. Which table it is in says what it is given.

WORKLOADS: (subject, door), one after the other on one stack. OWN: (field, small=…), each on a stack of its
own. SEVERAL: (small=…), they make their stacks. PURE: (small=…), they need none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench.workloads.b1 import b1
from bench.workloads.b2 import b2
from bench.workloads.b3 import b3
from bench.workloads.b4 import b4
from bench.workloads.b5 import b5
from bench.workloads.b7 import b7
from bench.workloads.b8 import b8
from bench.workloads.b9 import b9
from bench.workloads.b10 import b10
from bench.workloads.b11 import b11
from bench.workloads.b12 import b12
from bench.workloads.b13 import b13
from bench.workloads.history import history
from bench.workloads.idle import idle
from bench.workloads.outages import FEW, JOBS, Outage
from bench.workloads.p1 import p1
from bench.workloads.policy import policy
from bench.workloads.recovery import RUNNERS, SLOTS, dead_runner, dead_service
from bench.workloads.scaling import scaling
from penstock.local.services import SERVICES

WORKLOADS = {"B1": b1, "B2": b2, "B3": b3, "B4": b4, "B5": b5, "B11": b11, "B13": b13}


class Own(NamedTuple):
    """A workload that does things to its stack, and so has one of its own."""

    run: Callable[..., dict[str, Any]]
    replicas: Mapping[str, int] = {}
    environ: Mapping[str, str] = {}
    environ_small: Mapping[str, str] | None = None
    """Where the small size needs other settings."""
    quick_when_small: bool = False
    """The small size goes by the clocks of tests."""


MANY = {"PENSTOCK_SLOTS": str(JOBS + 1)}
SOME = {"PENSTOCK_SLOTS": str(FEW + 1)}
OWN = {
    "B7": Own(b7, {"runner": 0}),
    "B8": Own(b8),
    "B9": Own(b9, {"runner": 0}),
    "B10": Own(b10, environ={"PENSTOCK_SLOTS": "200"}),
    "B12": Own(b12, {"runner": 0}),
    "P1": Own(p1, {"runner": 0}),
    "idle": Own(idle, {"runner": 0}),
    "history": Own(history),
    "dead-runner": Own(
        dead_runner, {"runner": RUNNERS}, {"PENSTOCK_SLOTS": str(SLOTS)}, quick_when_small=True
    ),
    "dead-service": Own(dead_service, dict.fromkeys(SERVICES, 2)),
    "postgres-down": Own(Outage("postgres", "down"), {}, MANY, SOME, quick_when_small=True),
    "postgres-hangs": Own(Outage("postgres", "hang"), {}, MANY, SOME, quick_when_small=True),
    "kafka-down": Own(Outage("kafka", "down"), {}, MANY, SOME, quick_when_small=True),
    "kafka-hangs": Own(Outage("kafka", "hang"), {}, MANY, SOME, quick_when_small=True),
}
SEVERAL: dict[str, Callable[..., dict[str, Any]]] = {"scaling": scaling}
PURE: dict[str, Callable[..., dict[str, Any]]] = {"policy": policy}
