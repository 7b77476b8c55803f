"""Runner: takes jobs granted to its session, runs them, and tells what became of them.

Reads `workers.grants` and `workers.control`, without a group, the partition of its own session alone.
Publishes `workers.heartbeats`, `workers.offers`, `jobs.reports` and `logs.frames`. Connects to neither
Postgres nor S3. What it must not lose lies in its state folder: the journal of reports and the spool of
log frames.

| module                     | role                                                                        |
|----------------------------|-----------------------------------------------------------------------------|
| `session`                  | decides about slots, grants and phases; pure                                |
| `attempts`                 | carries that out: starts, stops and ends attempts                           |
| `agent`                    | one session from its first heartbeat to its last                            |
| `reporting`, `journal`     | reports, batched, written down, repeated until settled                      |
| `frames`                   | from bytes to numbered lines to frames; pure                                |
| `shipping`, `spool`        | frames on disk, sent, repeated until stored                                 |
| `executors/`               | how an attempt is run: `process`, `noop`, and plug-ins                      |
| `processes`, `guard`       | processes started below a guard, none of which outlives its attempt         |
| `pipes`, `workspace`, `checkout` | output, folder and environment, the commit                            |
| `transport`, `kafka_transport`   | how it talks to the services                                          |
| `folder`                   | the state folder and its lock                                               |
"""
