"""The workloads: name -> function (subject, door) -> figures."""

from bench.workloads.b1 import b1
from bench.workloads.b2 import b2
from bench.workloads.b3 import b3
from bench.workloads.b4 import b4
from bench.workloads.b13 import b13

WORKLOADS = {"B1": b1, "B2": b2, "B3": b3, "B4": b4, "B13": b13}
