"""What is read from Postgres' log."""

from __future__ import annotations

from bench.workloads.history import claim_durations

LOG = "\n".join(
    f"2026-01-01 10:00:00.000 UTC [11] penstock_any LOG:  duration: {duration} ms  {what}($1, $2)"
    for duration, what in [
        ("0.021", "parse <unnamed>: SELECT claim_v1"),
        ("0.034", "bind <unnamed>: SELECT claim_v1"),
        ("0.712", "execute <unnamed>: SELECT claim_v1"),
        ("1.5", "execute <unnamed>: SELECT finish_v1"),
        ("12.000", "execute <unnamed>: SELECT claim_v1"),
    ]
)


def test_only_the_execution_of_claims_counts() -> None:
    assert claim_durations(LOG) == [0.712, 12.0]
