"""Advancer: takes in what runners report of attempts and moves the graph on.

Consumes `jobs.reports`. In Postgres: `start_v1`, `finish_v1`, `release_v1`, `resolve_v1`. Publishes
`jobs.status`, `pipelines.status`, `jobs.ready.*`, and `settled` on `workers.control`.
"""
