"""Canceller: ends pipelines and jobs that somebody no longer wants.

Consumes `cancel.requested` and the `cancels` rows that the gateway wrote. In Postgres: `cancel_v1`. Publishes
`jobs.status`, `pipelines.status`, and stop orders on `workers.control`.
"""
