"""Logs: keeps what jobs write, and serves it while it is being written.

Consumes `logs.frames`. Puts chunks of NDJSON as zstd into object storage, and their index into Postgres
(`index_chunks_v1`: `log_heads`, `log_chunks`). Publishes `stored` on `workers.control`. Serves live logs over
HTTP to the gateway (contract: `penstock.logs`), which finds it by its row in `workers`.

Order of things: PUT, index, answer and offset. The index is a compare-and-swap on what an attempt has stored,
so of two owners that know the same one wins, and the other learns what there is. Whatever is killed wherever:
what is not in the index is read again, from Kafka or from the runner's spool.
"""
