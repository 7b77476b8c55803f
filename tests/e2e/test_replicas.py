"""Nothing lives in one process: every replica of every service is killed, and a runner is drained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.client import Client, Patience, follow_events, follow_log
from penstock.client.records import LogEnd, LogLine, Status
from penstock.core.ids import uuid4
from penstock.local.services import SERVICES

PATIENCE_SECONDS = 120.0
LEASE_SECONDS = 3.0
"""As the stack of the first test has it."""
LIFE = ["QUEUED", "ASSIGNED", "RUNNING", "SUCCESS"]
"""Of a job that nothing happens to."""


class Listener:
    """Follows a pipeline and the log of one of its jobs to their ends, each in a thread."""

    def __init__(self, client: Client, pipeline_id: str, job_id: str) -> None:
        self.events: list[Status] = []
        self.lines: list[LogLine | LogEnd] = []
        self._client = client
        self._threads = [
            threading.Thread(target=self._follow_events, args=(pipeline_id,)),
            threading.Thread(target=self._follow_log, args=(job_id,)),
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _follow_events(self, pipeline_id: str) -> None:
        self.events.extend(follow_events(self._client, pipeline_id, Patience(PATIENCE_SECONDS)))

    def _follow_log(self, job_id: str) -> None:
        for batch in follow_log(self._client, job_id, 1, Patience(PATIENCE_SECONDS)):
            self.lines.extend(batch)


class Load:
    """Pipelines that come all the time; each job of them tells in a file of its own when it is begun."""

    def __init__(self, stack: Any, client: Client, folder: Path) -> None:
        self.keys: list[str] = []
        self.begun = f'echo "$CI_ATTEMPT" >> {folder}/$CI_JOB_ID'
        self._stack = stack
        self._client = client
        self._folder = folder

    def add(self) -> None:
        """Two more pipelines, one by each door."""
        needs = {n: [f"j{n - 3}"] if n >= 3 else [] for n in range(9)}
        jobs = {f"j{n}": {"run": f"{self.begun}; sleep 0.2", "needs": needs[n]} for n in needs}
        self.keys += [uuid4(), uuid4()]
        self._stack.submit({"jobs": jobs}, self.keys[-1])
        Patience(PATIENCE_SECONDS).call(lambda: self._client.submit(self.keys[-2], definition={"jobs": jobs}))

    def succeeded(self) -> int:
        """Jobs that are through."""
        rows = "jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id WHERE p.request_id = ANY(%s)"
        return int(self._stack.db.one(f"SELECT count(*) FROM {rows} AND j.state = 'SUCCESS'", (self.keys,)))

    def check(self) -> None:
        """Every pipeline went well; every job ran, and no attempt of it twice."""
        assert set(self._stack.wait(*self.keys).values()) == {"SUCCESS"}
        rows = self._stack.db.rows(
            "SELECT j.id::text, j.attempt FROM jobs AS j JOIN pipelines AS p ON p.id = j.pipeline_id"
            " WHERE p.request_id = ANY(%s)",
            (self.keys,),
        )
        for job_id, attempt in rows:
            begun = [int(line) for line in (self._folder / job_id).read_text().split()]
            assert len(begun) == len(set(begun)), f"{job_id} began {begun}"
            assert max(begun) == attempt


@pytest.mark.timeout(600)
def test_every_replica_is_killed_once_and_all_goes_on(
    start_stack: Any, wait_until: Any, tmp_path: Path
) -> None:
    """A long job whose runner lives outlasts them all, and its reader goes from one gateway to the other."""
    tmp_path.chmod(0o777)
    words = [f"--replicas={name}=2" for name in SERVICES]
    with start_stack(*words, PENSTOCK_KAFKA_PARTITIONS="8") as stack:
        urls = [f"http://127.0.0.1:{stack.component('gateway', replica).port}" for replica in (0, 1)]
        client = Client(",".join(urls), stack.stack.token)
        load = Load(stack, client, tmp_path)

        def kill(name: str, replica: int) -> None:
            load.add()
            before = load.succeeded()
            stack.kill(name, replica)
            load.add()
            wait_until(lambda: load.succeeded() > before, told=lambda: f"after the kill of {name}-{replica}")

        kill("runner", 0)
        kill("runner", 1)
        for replica in (0, 1):
            stack.ready("runner", replica)

        enough, long = tmp_path / "enough", uuid4()
        talk = f"n=0; while [ ! -e {enough} ]; do echo line $n; n=$((n + 1)); sleep 0.1; done"
        receipt = client.submit(long, definition={"jobs": {"talk": {"run": f"{load.begun}; {talk}"}}})
        load.keys.append(long)
        wait_until(lambda: stack.jobs(long).get("talk", ("",))[0] == "RUNNING")
        job = stack.job_id(long, "talk")
        listener = Listener(client, receipt["pipeline_id"], job)
        cancelled: list[str] = []
        for replica in (0, 1):
            for name in SERVICES:
                if name == "runner":
                    continue
                heard = len(listener.lines)
                if name == "canceller":
                    cancelled.append(uuid4())
                    endless = {"jobs": {"endless": {"run": "sleep 1000"}}}
                    asked = client.submit(cancelled[-1], definition=endless)
                kill(name, replica)
                if name == "canceller":
                    client.cancel_pipeline(asked["pipeline_id"])
                wait_until(
                    lambda: len(listener.lines) > heard,  # noqa: B023 - looked at in this turn
                    told=lambda: f"no line after the kill of {name}-{replica}",  # noqa: B023
                )
        # Ten lines a second: it outlasts its lease ten times.
        wait_until(lambda: len(listener.lines) > 10 * 10 * LEASE_SECONDS)
        enough.touch()
        load.check()
        assert set(stack.wait(*cancelled).values()) == {"CANCELLED"}
        listener.join()
        *lines, end = listener.lines
        assert [line.get("text") for line in lines] == [f"line {n}" for n in range(len(lines))]
        assert end == {"end": True, "last_seq": len(lines), "state": "SUCCESS"}
        told = {("job_id" in event, event["version"]): event["state"] for event in listener.events}
        assert [told[True, version] for version in range(1, 5)] == [
            "QUEUED",
            "ASSIGNED",
            "RUNNING",
            "SUCCESS",
        ]
        assert listener.events[-1]["state"] == "SUCCESS"
        assert client.job(job)["duration_ms"] > 10 * LEASE_SECONDS * 1000
        for name in SERVICES:
            for replica in (0, 1):
                stack.ready(name, replica)
                assert stack.component(name, replica).restarts == 1, f"{name}-{replica}"


class Runners:
    """Runners of a test's own beside a stack that has none."""

    def __init__(self, stack: Any, environ: dict[str, str]) -> None:
        self._stack = stack
        self._environ = {**os.environ, **environ}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Runners:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()

    def start(self, name: str) -> None:
        """A runner with one slot."""
        command = [sys.executable, "-m", "penstock", "runner", "--slots=1", f"--name={name}", "--json"]
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                command, cwd=self._stack.folder, env=self._environ, stdout=log, stderr=log
            )

    def drain(self, name: str) -> None:
        """SIGTERM."""
        self._running[name].send_signal(signal.SIGTERM)

    def ended(self, name: str) -> int:
        """Exit code."""
        return self._running[name].wait(120)

    def told(self, name: str, event: str) -> dict[str, Any]:
        """The entry of its log; empty while there is none."""
        entries = (orjson.loads(line) for line in self._log(name).read_bytes().split(b"\n")[:-1])
        return next((entry for entry in entries if entry["event"] == event), {})

    def _log(self, name: str) -> Path:
        path: Path = self._stack.folder / f"{name}.log"
        return path


def test_a_drained_runner_ends_its_job_and_gives_back_what_waits(
    start_stack: Any, wait_until: Any, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    # What is granted waits for two and a half heartbeats, long enough to be seen waiting on any machine.
    clocks = {"PENSTOCK_HEARTBEAT_SECONDS": "4", "PENSTOCK_SESSION_TTL_SECONDS": "12"}
    clocks |= {"PENSTOCK_DRAIN_SECONDS": "100", "PENSTOCK_EXCLUSIVE_SECONDS": "30"}
    with start_stack("--replicas=runner=0", **clocks) as stack, Runners(stack, clocks) as runners:
        runners.start("first")
        known, slow, quick = uuid4(), uuid4(), uuid4()
        stack.submit({"jobs": {"noop": {"executor": "noop"}}}, known)
        stack.wait(known)  # from now on such jobs are known to be short, and granted ahead of free slots
        enough = tmp_path / "enough"
        stack.submit({"jobs": {"slow": {"run": f"while [ ! -e {enough} ]; do sleep 0.1; done"}}}, slow)
        wait_until(lambda: stack.jobs(slow).get("slow") == ("RUNNING", None))
        stack.submit({"jobs": {f"q{n}": {"executor": "noop"} for n in range(20)}}, quick)
        held = "SELECT attempts FROM workers WHERE name = 'first'"
        wait_until(lambda: (stack.db.one(held) or 0) > 1)  # so its heartbeat says
        runners.drain("first")
        wait_until(lambda: runners.told("first", "draining") != {})
        draining = runners.told("first", "draining")
        assert draining["running"] == 1
        assert draining["waiting"] > 0
        wait_until(lambda: set(stack.jobs(quick).values()) == {("QUEUED", None)})
        runners.start("second")
        assert stack.wait(quick) == {quick: "SUCCESS"}
        assert stack.jobs(slow) == {"slow": ("RUNNING", None)}, "it is let end"
        enough.touch()
        assert stack.wait(slow) == {slow: "SUCCESS"}
        assert runners.ended("first") == 0
        told = stack.db.rows(
            "SELECT state FROM job_transitions WHERE job_id = %s::uuid ORDER BY version",
            (stack.job_id(slow, "slow"),),
        )
        assert [state for (state,) in told] == LIFE
        workers = stack.db.rows("SELECT name, state FROM workers WHERE kind = 'runner'")
        assert ("first", "OFFLINE") in workers
