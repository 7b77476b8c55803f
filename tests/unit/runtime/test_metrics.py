from __future__ import annotations

from typing import get_args

import pytest

from penstock.runtime import metrics
from penstock.runtime.metrics import Metrics


def test_every_name_is_documented_once() -> None:
    assert set(metrics.COUNTERS) == set(get_args(metrics.CounterName))
    assert set(metrics.GAUGES) == set(get_args(metrics.GaugeName))
    assert set(metrics.HISTOGRAMS) == set(get_args(metrics.HistogramName))
    for metric in [*metrics.COUNTERS.values(), *metrics.GAUGES.values(), *metrics.HISTOGRAMS.values()]:
        assert metric.about.endswith(".")


def test_counting_setting_observing() -> None:
    found = Metrics()
    found.inc("penstock_lease_expired_total", 2)
    found.inc("penstock_dead_letters_total", topic="t")
    found.set("penstock_queue_depth", 7, lane="high", pool="default")
    found.observe("penstock_step_seconds", 0.004, service="intake")
    text = found.text().decode()
    assert "penstock_lease_expired_total 2.0" in text
    assert 'penstock_dead_letters_total{topic="t"} 1.0' in text
    assert 'penstock_queue_depth{lane="high",pool="default"} 7.0' in text
    assert 'penstock_step_seconds_bucket{le="0.005",service="intake"} 1.0' in text
    assert "process_resident_memory_bytes" in text


def test_a_gauge_forgets_what_is_gone() -> None:
    found = Metrics()
    found.set("penstock_queue_depth", 7, lane="high", pool="gone")
    found.clear("penstock_queue_depth")
    assert "gone" not in found.text().decode()


def test_each_process_has_its_own() -> None:
    Metrics().inc("penstock_lease_expired_total")
    assert "penstock_lease_expired_total 0.0" in Metrics().text().decode()


def test_a_wrong_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="label"):
        Metrics().inc("penstock_dead_letters_total", partition="1")
