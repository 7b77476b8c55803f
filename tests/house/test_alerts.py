"""The rules for Prometheus name metrics that exist, and every safety net has one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from penstock.runtime.metrics import COUNTERS, GAUGES, HISTOGRAMS, Metric

ROOT: Final = Path(__file__).parents[2]
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
WATCHED: Final = {
    "penstock_expired_lease_oldest_seconds",
    "penstock_outbox_oldest_seconds",
    "penstock_oldest_queued_seconds",
    "penstock_due_timer_oldest_seconds",
    "penstock_expiry_breaker_total",
    "penstock_pipelines_reconciled_total",
}
"""The oldest of each kind of thing that must not grow old, and what must never be."""


def named(rule: dict[str, Any]) -> set[str]:
    return set(re.findall(r"penstock_\w+", rule["expr"]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_is_whole_and_names_what_exists(rule: dict[str, Any]) -> None:
    assert named(rule)
    assert named(rule) <= {*COUNTERS, *GAUGES, *HISTOGRAMS}
    for counter in named(rule) & set(COUNTERS):
        assert f"increase({counter}[" in rule["expr"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description"}
    labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    known: dict[str, Metric] = {**dict(COUNTERS.items()), **dict(GAUGES.items())}
    assert all(labels <= set(known[name].labels) for name in named(rule))


def test_every_safety_net_is_watched() -> None:
    assert {name for rule in RULES for name in named(rule)} >= WATCHED
