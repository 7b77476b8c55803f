"""Gateway: the HTTP door (interface §5). The only public server of Penstock.

Consumes `pipelines.status` and `jobs.status` from their end, to answer sooner than by asking Postgres.
Writes rows of `requests` and `cancels` before a 2xx; all else it reads.
Publishes `pipelines.requested`, `cancel.requested`. Stores large definitions.

`routing` declares what a route is, `routes` has them by subject, `app` makes the server of them, and
`openapi` their document. `acceptance` is how a pipeline comes in, `watch` the feed of status records.
"""
