"""Failpoints and mutants inside the processes of a test stack; a normal run knows nothing of them.

A process that is started with `environment(folder)` loads them before anything else. Whoever holds the folder
arms a point for one process; the next time that process passes it, it dies there, sleeps or stands still.
"""

from __future__ import annotations

from penstock.testing.chaos.hooks.armed import Bite, arm, bites, disarm, disarm_all
from penstock.testing.chaos.hooks.loading import MUTANT, environment
from penstock.testing.chaos.hooks.points import POINTS, Point

__all__ = ["MUTANT", "POINTS", "Bite", "Point", "arm", "bites", "disarm", "disarm_all", "environment"]
