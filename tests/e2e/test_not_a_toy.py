"""What a toy could not do: outlive its processes, its clocks and its own log topic."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka.admin import AdminClient

from penstock.core.ids import uuid4
from penstock.events import topics

SERVICES = ("intake", "advancer", "dispatcher", "reaper", "canceller", "logs", "gateway", "runner")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timeout(180)
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


@pytest.mark.timeout(180)
def test_a_dead_runner_leaves_no_running_behind(client: Any, wait_until: Any, tmp_path: Path) -> None:
    key = uuid4()
    tmp_path.chmod(0o777)
    marks = tmp_path / "runs"
    client.submit({"jobs": {"job": {"run": f"echo run >> {marks}; sleep $((6 / $(wc -l < {marks})))"}}}, key)
    wait_until(lambda: client.jobs(key).get("job", ("",))[0] == "RUNNING" and marks.exists())
    pid = client.pid("runner")
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: client.jobs(key)["job"][0] != "RUNNING")
    silent = time.monotonic() - killed
    assert client.wait(key) == {key: "SUCCESS"}
    history = client.db.rows(
        "SELECT state, reason FROM job_transitions WHERE job_id = %s::uuid ORDER BY version",
        (client.job_id(key, "job"),),
    )
    assert ("QUEUED", "worker-lost") in history
    # TTL 3 s, a scan each half second; the bound is generous for a busy machine.
    assert silent < 3 + 2 + 10
    assert len(marks.read_text().split()) == 2


@pytest.mark.timeout(300)
def test_two_replicas_each_killed_once_under_load(start_stack: Any, wait_until: Any) -> None:
    words = [f"--replicas={name}=2" for name in SERVICES if name != "gateway"]
    clocks = {"PENSTOCK_HEARTBEAT_SECONDS": "0.5", "PENSTOCK_SESSION_TTL_SECONDS": "1.5"}
    with start_stack(*words, **clocks, PENSTOCK_KAFKA_PARTITIONS="8") as stack:
        long = uuid4()
        stack.submit({"jobs": {"long": {"run": "sleep 15", "timeout": "60s", "retry": {"max": 3}}}}, long)
        jobs = {f"j{n}": {"run": "true", "needs": [f"j{n - 3}"] if n >= 3 else []} for n in range(30)}
        keys: list[str] = []
        for name in SERVICES:
            keys += [uuid4() for _ in range(3)]
            for key in keys[-3:]:
                stack.submit({"jobs": jobs}, key)
            os.kill(stack.pid(name, 0 if name == "gateway" else len(keys) % 2), signal.SIGKILL)
            time.sleep(1.0)
        ends = stack.wait(*keys, long, seconds=200)
        assert set(ends.values()) == {"SUCCESS"}
        # Ten times its lease's TTL, on a runner that was killed or not.
        assert stack.db.one("SELECT duration_ms >= 15000 FROM jobs WHERE name = 'long'")
        starts = stack.db.rows(
            "SELECT job_id, attempt FROM job_transitions WHERE state = 'RUNNING'"
            " GROUP BY 1, 2 HAVING count(*) > 1"
        )
        assert starts == []


@pytest.mark.timeout(300)
def test_a_log_outlives_its_service_and_its_topic(start_stack: Any, wait_until: Any) -> None:
    lines = 200_000
    with start_stack() as stack:
        key = uuid4()
        script = (
            f"import time\nfor n in range({lines}):\n"
            "    print(f'line {n} of a log that is long enough to be cut into several chunks', flush=False)\n"
            "    n % 20000 or time.sleep(1)"
        )
        stack.submit({"jobs": {"talk": {"run": f"python3 - <<'END'\n{script}\nEND\nsleep 3"}}}, key)
        wait_until(lambda: stack.jobs(key).get("talk", ("",))[0] == "RUNNING")
        job = stack.job_id(key, "talk")

        def chunks() -> int:
            return int(stack.db.one("SELECT count(*) FROM log_chunks WHERE job_id = %s::uuid", (job,)))

        wait_until(lambda: chunks() >= 2 or stack.jobs(key)["talk"][0] != "RUNNING", 120)
        os.kill(stack.pid("logs"), signal.SIGKILL)
        wait_until(lambda: chunks() >= 3 or stack.jobs(key)["talk"][0] != "RUNNING", 120)
        assert stack.jobs(key)["talk"][0] == "RUNNING", "three chunks were stored before the job ended"
        assert stack.wait(key, seconds=120) == {key: "SUCCESS"}
        wait_until(lambda: bool(stack.db.one("SELECT closed FROM log_heads WHERE job_id = %s::uuid", (job,))))
        admin = AdminClient({"bootstrap.servers": stack.stack.kafka.bootstrap})
        admin.delete_topics([topics.LOGS_FRAMES.name])[topics.LOGS_FRAMES.name].result()
        os.kill(stack.pid("logs"), signal.SIGKILL)
        text = _log(stack, job, "text/plain").decode()
        assert text.splitlines() == [
            f"line {n} of a log that is long enough to be cut into several chunks" for n in range(lines)
        ]
        records = [orjson.loads(line) for line in _log(stack, job, "application/x-ndjson").splitlines()]
        assert [record["seq"] for record in records[:-1]] == list(range(1, lines + 1))
        assert records[-1]["end"] is True


def _log(stack: Any, job: str, accept: str) -> bytes:
    request = urllib.request.Request(
        f"{stack.stack.gateway.url}/v1/jobs/{job}/logs?follow=true",
        headers={"Authorization": f"Bearer {stack.stack.token}", "Accept": accept},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: bytes = answer.read()
    return data
