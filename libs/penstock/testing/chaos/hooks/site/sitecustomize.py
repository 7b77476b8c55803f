"""Loads the hooks: this folder is on the path of a test stack's processes only."""

from __future__ import annotations

from penstock.runtime.settings import variable

# Only services have an instance: neither the supervisor nor a program that it runs is to load anything.
if variable("PENSTOCK_INSTANCE"):
    from penstock.testing.chaos.hooks.loading import load

    load()
