"""A fault proxy that knows what it carries: Kafka, Postgres and S3, each behind a port of its own.

    with Proxies(seed) as proxies:
        proxies.postgres.target("127.0.0.1", 25432)
        rule = proxies.postgres.lose_commit_answer(1)
        ...
        assert rule.hits == 1
        rule.lift()

It runs in a thread of its own. Frames that no rule looks at pass as they came, chunk by chunk.
"""

from __future__ import annotations

from penstock.testing.chaos.proxy.doors import DOWN, UP, Door
from penstock.testing.chaos.proxy.http import ObjectsDoor
from penstock.testing.chaos.proxy.kafka import KafkaDoor
from penstock.testing.chaos.proxy.postgres import PostgresDoor
from penstock.testing.chaos.proxy.proxies import Proxies
from penstock.testing.chaos.proxy.rules import Dose, Rule

__all__ = [
    "DOWN",
    "UP",
    "Door",
    "Dose",
    "KafkaDoor",
    "ObjectsDoor",
    "PostgresDoor",
    "Proxies",
    "Rule",
]
