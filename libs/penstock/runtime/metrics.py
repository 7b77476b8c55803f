"""Metrics: a closed set of names, each documented here once; an unknown name fails the type check."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CounterName = Literal[
    "penstock_cas_conflicts_total",
    "penstock_lease_expired_total",
    "penstock_expiry_breaker_total",
    "penstock_outages_total",
    "penstock_pipelines_reconciled_total",
    "penstock_dead_letters_total",
    "penstock_reports_total",
    "penstock_retries_total",
]
GaugeName = Literal[
    "penstock_queue_depth",
    "penstock_oldest_queued_seconds",
    "penstock_waiting_jobs",
    "penstock_outbox_oldest_seconds",
    "penstock_expired_lease_oldest_seconds",
    "penstock_due_timer_oldest_seconds",
    "penstock_consumer_lag",
    "penstock_dlq_records",
]
HistogramName = Literal[
    "penstock_dispatch_latency_seconds",
    "penstock_batch_size",
    "penstock_step_seconds",
    "penstock_log_visible_latency_seconds",
    "penstock_http_request_seconds",
]
MetricName = CounterName | GaugeName | HistogramName


class Metric(NamedTuple):
    """What a metric counts; `labels` in the order in which `Metrics` is given their values by name."""

    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

COUNTERS: Final[dict[CounterName, Metric]] = {
    "penstock_cas_conflicts_total": Metric(
        "Transitions that found their row moved on already.", ("service",)
    ),
    "penstock_lease_expired_total": Metric("Leases that ran out without a report."),
    "penstock_expiry_breaker_total": Metric(
        "Scans put off because an unusually large share of all leases had run out."
    ),
    "penstock_outages_total": Metric("Outages by whose length leases and timers were extended."),
    "penstock_pipelines_reconciled_total": Metric(
        "Pipelines found open with all their jobs ended: a fault, it must stay 0."
    ),
    "penstock_dead_letters_total": Metric("Records parked in a dead-letter topic.", ("topic",)),
    "penstock_reports_total": Metric("Reports of runners: accepted, refused or repeated.", ("result",)),
    "penstock_retries_total": Metric("Tries put off because a server was away or busy.", ("component",)),
}
GAUGES: Final[dict[GaugeName, Metric]] = {
    "penstock_queue_depth": Metric("Jobs QUEUED.", ("lane", "pool")),
    "penstock_oldest_queued_seconds": Metric("Age of the oldest job QUEUED.", ("lane", "pool")),
    "penstock_waiting_jobs": Metric(
        "Jobs QUEUED by why they wait, by the dispatcher of their pool; `queue`: for those before them.",
        ("pool", "reason"),
    ),
    "penstock_outbox_oldest_seconds": Metric("Age of the oldest event that no broker has acknowledged."),
    "penstock_expired_lease_oldest_seconds": Metric("How long the oldest lease that ran out is over."),
    "penstock_due_timer_oldest_seconds": Metric("How long the oldest timer that is due is over."),
    "penstock_consumer_lag": Metric("Records not read yet, over the partitions held here.", ("topic",)),
    "penstock_dlq_records": Metric("Records that lie in a dead-letter topic.", ("topic",)),
}
HISTOGRAMS: Final[dict[HistogramName, Metric]] = {
    "penstock_dispatch_latency_seconds": Metric("QUEUED to ASSIGNED.", (), SECONDS),
    "penstock_batch_size": Metric("Records in one step.", ("service",), SIZES),
    "penstock_step_seconds": Metric("One step with its transaction.", ("service",), SECONDS),
    "penstock_log_visible_latency_seconds": Metric("A log line written to readable by a tail.", (), SECONDS),
    "penstock_http_request_seconds": Metric("One HTTP request.", ("route", "method", "status"), SECONDS),
}


class Metrics:
    """The metrics of one process. Thread-safe. Labels are given by name: `inc(name, topic="…")`."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters = {
            name: Counter(name, metric.about, metric.labels, registry=self._registry)
            for name, metric in COUNTERS.items()
        }
        self._gauges = {
            name: Gauge(name, metric.about, metric.labels, registry=self._registry)
            for name, metric in GAUGES.items()
        }
        self._histograms = {
            name: Histogram(
                name, metric.about, metric.labels, registry=self._registry, buckets=metric.buckets
            )
            for name, metric in HISTOGRAMS.items()
        }

    def inc(self, name: CounterName, amount: float = 1, **labels: str) -> None:
        """Count something that happened."""
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def set(self, name: GaugeName, value: float, **labels: str) -> None:
        """State how much of something there is now."""
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def clear(self, name: GaugeName) -> None:
        """Forget all label values of a gauge, before setting those that exist now (a pool may be gone)."""
        self._gauges[name].clear()

    def observe(self, name: HistogramName, value: float, **labels: str) -> None:
        """Add one observation to a distribution."""
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def text(self) -> bytes:
        """All of it in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)
