"""Penstock: a CI/CD pipeline orchestrator on Kafka, Postgres and object storage."""
