"""Intake: turns requests into pipelines, or says what is wrong with them.

Consumes `pipelines.requested`. In Postgres: `accept_v1`, `reject_v1`, and the cancels that were waiting.
Publishes `pipelines.status` (the first record is the receipt), `jobs.status`, `jobs.ready.*`.
"""
