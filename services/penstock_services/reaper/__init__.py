"""Reaper: keeps leases alive while heartbeats come, takes back what went silent, and drives on what was lost.

Consumes `workers.heartbeats`. In Postgres: `renew_v1`, `start_v1`, `release_v1`, `retry_due_v1`, every sweep,
the outbox relay, partitions, old rows. Publishes renewals on `workers.control`, `jobs.status` and
`jobs.ready.*`.
"""
