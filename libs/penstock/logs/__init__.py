"""Reading logs: what the gateway and the `logs` service share. Above store and objects.

A log is read by one cursor (job, attempt, seq): lines are numbered from 1 over both streams of an attempt.
A line is a JSON object {seq, ts, stream, text, raw?, part?} and a newline, passed on byte by byte as its
runner wrote it. The service has checked numbers and counts of what it stored; whoever decodes lines must
still bear one that is not what it should be.

Whoever answers a reader first asks `penstock.store.logs.states`, then `end_of`:

* It gives an `EndOfLog`: the attempt ended and its log is closed, or there is none (it wrote nothing, or
  nothing of it arrived for long). All there is lies in object storage: `stored_lines`, then this record.
* It gives None: lines, or the attempt's end, may still come. The `logs` replica that owns the partition of
  the job's frames serves them: `GET http://{owner}/v1/tail/{job}/{attempt}?from_seq=1&follow=1`; the owner is
  `store.workers.log_owner(db, partition_for(job_id, partitions of penstock.logs.frames), …)`.
  No authentication: it is inside the trust boundary, the caller has checked whose job it is.

The tail answers 200 `application/x-ndjson`: the lines from `from_seq` on, in order, each once, whether they
are stored, in memory, or come only now. With `follow=1` (`follow=0` is the default) it goes on until the
end-of-log record, which is its last line: {"end": true, "last_seq", "state"?, "incomplete"?, "missing"?}.
`state` is what the attempt ended as; it lacks only when no report of its end came within seconds of its last
line. `incomplete`: the rest was given up on; `missing` lines, if it is known how many; numbers jump where
they would have been. With `follow=0` the answer ends at what is there now, with the end-of-log record if
there is nothing to come.

A connection that closes without the end-of-log record under `follow=1`, in the middle of a line or not, is no
end: the partition has moved, the replica stopped, or the reader took too long for a piece. Drop what came
behind the last newline, look the owner up again, and ask it for the last `seq` + 1. Other answers:

| status | means                                                                                      |
|--------|--------------------------------------------------------------------------------------------|
| 400    | `from_seq`, `follow` or the id makes no sense: {"error"}                                     |
| 421    | another replica owns the partition: {"error", "owner"}, `owner` null when nobody does now    |
| 503    | Postgres or the object storage is away and lines before those in memory are asked for       |
"""
