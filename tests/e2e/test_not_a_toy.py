"""What a toy could not do: outlive its processes, its clocks and its own log topic."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka.admin import AdminClient
from tests.e2e.conftest import CLOCKS

from penstock.core.ids import uuid4
from penstock.events import topics


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_cancelled_job_is_fully_dead_before_it_is_cancelled(
    client: Any, wait_until: Any, tmp_path: Path
) -> None:
    """It traps SIGTERM, and its grandchild left its session: a double fork under another group."""
    tmp_path.chmod(0o777)
    pids = tmp_path / "pids"
    script = f"""
trap '' TERM
echo $$ >> {pids}
setsid sh -c 'trap "" TERM
    (trap "" TERM; echo $$ >> {pids}; sh -c "echo \\$PPID >> {pids}; sleep 300") & sleep 300' &
sleep 300
"""
    key = uuid4()
    client.submit({"jobs": {"stubborn": {"run": script, "timeout": {"cancel-grace": "1s"}}}}, key)
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) >= 3)
    found = [int(pid) for pid in pids.read_text().split()]
    assert any(alive(pid) for pid in found)
    pipeline = client.db.one("SELECT id::text FROM pipelines WHERE request_id = %s", (key,))
    client.produce("penstock.cancel.requested", pipeline, {"tenant": "default", "pipeline_id": pipeline})
    wait_until(lambda: client.jobs(key)["stubborn"][0] == "CANCELLED", told=lambda: str(client.jobs(key)))
    assert not any(alive(pid) for pid in found)


LEFT_BEHIND_SECONDS = 2.0
"""The bar: what a dead runner left RUNNING is gone by one TTL and this."""
LOOK_SECONDS = 0.05


def test_a_dead_runner_leaves_no_running_behind(client: Any, wait_until: Any, tmp_path: Path) -> None:
    """All times are the database's: from the last sign of life that it took in to the transition itself.

    That is when the lease begins to run out, and a heartbeat is taken in before its runner dies, but for one
    on its way; so nothing that the test does itself is in it. What is left is the reaper's own delay, which
    grows on a machine that has no time for it. Meanwhile the test does as the reaper does, sleeps and asks
    the database: as long as its own looks came late, all of them together, so late may the reaper be.
    """
    key = uuid4()
    tmp_path.chmod(0o777)
    marks = tmp_path / "runs"
    client.submit(
        {"jobs": {"job": {"run": f"echo run >> {marks}; [ $(wc -l < {marks}) -gt 1 ] || sleep 1000"}}}, key
    )
    wait_until(lambda: client.jobs(key).get("job", ("",))[0] == "RUNNING" and marks.exists())
    client.kill("runner")
    late, looked = 0.0, time.monotonic()

    def gone() -> bool:
        nonlocal late, looked
        state = client.jobs(key)["job"][0]
        late, looked = late + max(0.0, time.monotonic() - looked - LOOK_SECONDS), time.monotonic()
        return bool(state != "RUNNING")

    wait_until(gone)
    assert client.wait(key) == {key: "SUCCESS"}
    job = client.job_id(key, "job")
    history = client.db.rows(
        "SELECT state, reason FROM job_transitions WHERE job_id = %s::uuid ORDER BY version", (job,)
    )
    assert ("QUEUED", "worker-lost") in history
    silent = client.db.one(
        "SELECT extract(epoch FROM t.at - greatest(a.started_at, w.seen_at))::float8"
        " FROM job_transitions AS t JOIN attempts AS a USING (job_id, attempt)"
        " JOIN workers AS w USING (session_id)"
        " WHERE t.job_id = %s::uuid AND t.reason = 'worker-lost'",
        (job,),
    )
    ttl = float(CLOCKS["PENSTOCK_SESSION_TTL_SECONDS"])
    assert silent <= ttl + LEFT_BEHIND_SECONDS + late
    assert len(marks.read_text().split()) == 2


def test_an_exclusive_job_is_dead_before_it_is_given_out_again(
    client: Any, wait_until: Any, tmp_path: Path
) -> None:
    """Its runner stands still: only the guard is left to see to it."""
    key = uuid4()
    tmp_path.chmod(0o777)
    pid = tmp_path / "pid"
    script = f"[ ! -e {pid} ] || exit 0\ntrap '' TERM\necho $$ > {pid}\nwhile :; do sleep 0.05; done"
    client.submit(
        {"jobs": {"job": {"run": script, "exclusive": True, "timeout": {"cancel-grace": "1s"}}}}, key
    )
    wait_until(lambda: pid.exists() and pid.read_text().strip())
    first = int(pid.read_text())
    runner = client.component("runner").pid
    os.kill(runner, signal.SIGSTOP)
    try:
        wait_until(lambda: not alive(first))
        assert client.jobs(key)["job"][0] in ("ASSIGNED", "RUNNING"), "nobody else may have it yet"
        job = client.job_id(key, "job")
        wait_until(
            lambda: client.db.one(
                "SELECT count(*) FROM job_transitions WHERE job_id = %s::uuid AND state = 'QUEUED'"
                " AND reason = 'worker-lost'",
                (job,),
            )
        )
    finally:
        os.kill(runner, signal.SIGCONT)
    assert client.wait(key) == {key: "SUCCESS"}


def test_a_log_outlives_its_service_and_its_topic(start_stack: Any, wait_until: Any, tmp_path: Path) -> None:
    lines, stored = 200_000, tmp_path / "stored"
    tmp_path.chmod(0o777)
    with start_stack() as stack:
        key = uuid4()
        script = (
            f"import time\nfor n in range({lines}):\n"
            "    print(f'line {n} of a log that is long enough to be cut into several chunks', flush=False)\n"
            "    n % 20000 or time.sleep(1)"
        )
        last = f"while [ ! -e '{stored}' ]; do sleep 0.1; done"
        stack.submit({"jobs": {"talk": {"run": f"python3 - <<'END'\n{script}\nEND\n{last}"}}}, key)
        wait_until(lambda: stack.jobs(key).get("talk", ("",))[0] == "RUNNING")
        job = stack.job_id(key, "talk")

        def chunks() -> int:
            return int(stack.db.one("SELECT count(*) FROM log_chunks WHERE job_id = %s::uuid", (job,)))

        wait_until(lambda: chunks() >= 2)
        stack.kill("logs")
        wait_until(lambda: chunks() >= 3)
        assert stack.jobs(key)["talk"][0] == "RUNNING", "three chunks were stored before the job ended"
        stored.touch()
        assert stack.wait(key) == {key: "SUCCESS"}
        wait_until(lambda: bool(stack.db.one("SELECT closed FROM log_heads WHERE job_id = %s::uuid", (job,))))
        stack.kill("logs")
        admin = AdminClient({"bootstrap.servers": stack.stack.kafka.bootstrap})
        admin.delete_topics([topics.LOGS_FRAMES.name])[topics.LOGS_FRAMES.name].result()
        text = stack.log(key, "talk").decode()
        assert text.splitlines() == [
            f"line {n} of a log that is long enough to be cut into several chunks" for n in range(lines)
        ]
        records = [orjson.loads(line) for line in stack.log(key, "talk", "application/x-ndjson").splitlines()]
        assert [record["seq"] for record in records[:-1]] == list(range(1, lines + 1))
        assert records[-1]["end"] is True
