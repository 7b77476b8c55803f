"""Benchmarks: `python -m bench B1 B2 …` prints one JSON line a workload, measured on a fresh, durable stack.

Workloads are those of the goals in docs/performance.md. All processes count: services, broker, Postgres, the
S3 server and the client. Every workload checks that its jobs came through the event door, the runner protocol
and both records of truth: all their versions are in SQL and on the status topic.
"""
