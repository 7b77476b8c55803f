"""The local stack: Kafka, Postgres, S3 and every service under one supervisor, from packages alone.

| module        | holds                                                                        |
|---------------|------------------------------------------------------------------------------|
| `settings`    | `PENSTOCK_*` variables of the local stack, where jars are cached              |
| `jars`        | the lock file: which jars, how large, which SHA-256; `lock` makes it anew      |
| `fetch`       | brings the jars into the cache: resumable, checked, or from a folder           |
| `folder`      | the paths in `.penstock/`, private files, the lock of a running stack          |
| `ports`       | free loopback ports that two stacks never choose both                         |
| `stack`       | `.penstock/stack.json`: what programs need to reach a running stack            |
| `kafka`, `postgres`, `objects` | one server each: data folder, configuration, command line     |
| `services`    | the service processes: command line, environment, readiness                   |
| `process`     | a child process that dies with its parent, and the record of living children   |
| `component`   | one supervised process: start, probe, restart with back-off, stop              |
| `supervisor`  | the order of all of them                                                      |
| `prepare`     | a process that waits for one server and makes it ready for Penstock           |
| `doctor`      | checks of the machine and of a running stack                                  |
"""
