"""The services, a room each: joined by topics, they never import one another.

| room       | consumes                                   | writes in Postgres                        |
|------------|--------------------------------------------|-------------------------------------------|
| intake     | pipelines.requested                        | accepts or rejects pipelines              |
| advancer   | jobs.reports                               | starts, ends, what follows in the graph   |
| dispatcher | jobs.ready.*, workers.heartbeats, .offers  | QUEUED -> ASSIGNED, why jobs wait          |
| reaper     | workers.heartbeats                         | renewals, expiry, retries, every sweep    |
| canceller  | cancel.requested                           | CANCELLED, CANCELLING                     |
| logs       | logs.frames                                | the index of log chunks                   |
| gateway    | pipelines.status, jobs.status              | requests and cancels before a 2xx         |
| runner     | workers.grants, workers.control            | nothing                                   |
"""
