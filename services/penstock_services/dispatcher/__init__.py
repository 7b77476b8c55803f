"""Dispatcher: hands QUEUED jobs to runners that have a slot and fit.

Reads `jobs.ready.*` and `workers.heartbeats` without a group, and `workers.offers` in one: its partitions say
which pools are this replica's. In Postgres: `claim_v1`, `refuse_v1`, `explain_v1`. Publishes
`workers.grants`, `jobs.status` and `jobs.waiting`.

What to grant is the pure `decide`; that a grant holds is decided by the claim's compare-and-swap, and by the
runner for its slots. Two owners of a pool for a moment are harmless.
"""
