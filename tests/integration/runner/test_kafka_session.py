"""The runner as a process on a real broker; the test plays dispatcher, advancer and log aggregator."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from penstock.core.ids import uuid4, uuid7
from penstock.events import jobs, logs, topics, workers
from penstock.events.codec import encode
from penstock.events.jobs import Grant, Report
from penstock.events.logs import Line
from penstock.events.workers import Control, Grants, Offer, Settled, Stored
from penstock.kafka.admin import apply_topics
from penstock.kafka.producer import Producer
from penstock.kafka.records import Outgoing, Record
from penstock.kafka.tail import TailSource
from penstock.runtime.settings import KafkaSettings, environment


class Services:
    """What the services see of one pool's runner, and say to it."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.pool = f"pool-{uuid.uuid4()}"
        self.settings = settings
        apply_topics(settings)
        self._producer = Producer(settings, "test")
        self._producer.warm_up()
        self._source = TailSource(
            settings,
            [
                topic.name
                for topic in (
                    topics.WORKERS_HEARTBEATS,
                    topics.WORKERS_OFFERS,
                    topics.JOBS_REPORTS,
                    topics.LOGS_FRAMES,
                )
            ],
        )
        self._read: list[Record] = []

    def offer(self) -> Offer:
        """The next offer of this pool."""
        return next(
            workers.offer.decode(record.value)
            for record in self._records(topics.WORKERS_OFFERS)
            if record.key == self.pool.encode()
        )

    def report(self, job_id: str, kind: str) -> tuple[str, Report]:
        """The session that tells it, and the next report of that kind."""
        for record in self._records(topics.JOBS_REPORTS):
            told = jobs.reports.decode(record.value)
            for report in told.reports:
                if (report.job_id, report.kind) == (job_id, kind):
                    return told.session_id, report
        raise AssertionError

    def heartbeat(self, session_id: str, state: str) -> None:
        """Wait until the session says that it is in this state."""
        for record in self._records(topics.WORKERS_HEARTBEATS):
            beat = workers.heartbeat.decode(record.value)
            if (beat.session_id, beat.state) == (session_id, state):
                return

    def log(self, job_id: str, most_lines: int = sys.maxsize) -> list[str]:
        """The lines of a log, up to its end or as many as asked for."""
        lines: list[str] = []
        for record in self._records(topics.LOGS_FRAMES, job_id):
            head = logs.frame_head(record.headers)
            raw = zstandard.ZstdDecompressor().decompress(record.value or b"")
            assert len(raw) == head.raw_bytes
            lines += [line.text for line in msgspec.json.Decoder(Line).decode_lines(raw)]
            assert len(lines) == head.last_seq
            if head.end or len(lines) >= most_lines:
                break
        return lines

    def grant(self, offer: Offer, *grants: Grant) -> None:
        record = Grants(offer.session_id, offer.n, list(grants))
        self._send(topics.WORKERS_GRANTS, offer.session_id, record)

    def control(self, session_id: str, **what: Any) -> None:
        self._send(topics.WORKERS_CONTROL, session_id, Control(session_id, **what))

    def close(self) -> None:
        self._source.close()
        self._producer.close()

    def _send(self, topic: topics.Topic, key: str, record: msgspec.Struct) -> None:
        self._producer.send([Outgoing(topic.name, key, encode(record), [])])

    def _records(self, topic: topics.Topic, key: str | None = None) -> Iterator[Record]:
        """Records of one topic (and key) as they come; the others are kept for their readers."""
        while True:
            for index, record in enumerate(self._read):
                if record.topic == topic.name and key in (None, (record.key or b"").decode()):
                    del self._read[index]
                    yield record
                    break
            else:
                self._read += self._source.poll(0.1)


@pytest.fixture
def services(kafka_settings: KafkaSettings) -> Iterator[Services]:
    services = Services(kafka_settings)
    yield services
    services.close()


@pytest.fixture
def start(services: Services, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts runners that share a state folder."""
    started: list[subprocess.Popen[bytes]] = []
    settings = services.settings
    variables = {
        **environment(),
        **{
            f"PENSTOCK_{name.upper()}": str(getattr(settings, name)) for name in settings.__dataclass_fields__
        },
        "PENSTOCK_POOL": services.pool,
        "PENSTOCK_SLOTS": "2",
        "PENSTOCK_STATE_DIR": str(tmp_path / "state"),
        "PENSTOCK_DRAIN_SECONDS": "0",
        "PENSTOCK_REPORT_RETRY_SECONDS": "1",
    }

    def run() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-m", "penstock_services.runner"], env=variables))
        return started[-1]

    yield run
    for process in started:
        process.terminate()
        process.wait()


def new_grant(script: str, executor: str = "process") -> Grant:
    spec = {"executor": executor, "steps": [{"name": "step", "run": script}]}
    return Grant(uuid7(1_700_000_000.0), 1, uuid4(), uuid7(1_700_000_000.0), "default", "a job", spec)


def settle(services: Services, session_id: str, report: Report, last_seq: int) -> None:
    services.control(
        session_id,
        settled=[Settled(report.job_id, report.attempt, report.kind, True)],
        stored=[Stored(report.job_id, report.attempt, last_seq)],
    )


def test_a_job_from_offer_to_settled_and_a_clean_end(services: Services, start: Any, tmp_path: Path) -> None:
    runner = start()
    offer = services.offer()
    assert (offer.slots, offer.executors) == (2, ["noop", "process"])
    job, noop = new_grant("echo hello; echo world >&2; exit 3"), new_grant("", "noop")
    services.grant(offer, job, noop)
    session_id, report = services.report(job.job_id, "ended")
    assert session_id == offer.session_id
    assert (report.success, report.exit_code, report.reason, report.last_seq) == (False, 3, "exit-code", 2)
    assert services.report(noop.job_id, "ended")[1].success
    assert sorted(services.log(job.job_id)) == ["hello", "world"]
    settle(services, session_id, report, 2)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait() == 0
    services.heartbeat(session_id, "OFFLINE")
    spooled = (tmp_path / "state" / "runner-0" / "spool").iterdir()
    assert sum(path.stat().st_size for path in spooled) == 0


def test_a_killed_runner_leaves_no_process_and_its_successor_tells_the_rest(
    services: Services, start: Any
) -> None:
    runner = start()
    offer = services.offer()
    done, running = new_grant("echo done"), new_grant("setsid sleep 1000 & echo $!; echo $$; sleep 1000")
    services.grant(offer, done, running)
    session_id, report = services.report(done.job_id, "ended")
    assert services.log(done.job_id) == ["done"]
    services.report(running.job_id, "started")
    pids = [int(line) for line in services.log(running.job_id, most_lines=2)]
    watched = [os.pidfd_open(pid) for pid in pids]
    runner.kill()
    runner.wait()
    for fd in watched:
        select.select([fd], [], [])
        os.close(fd)

    start()
    while (successor := services.offer().session_id) == session_id:
        pass
    teller = session_id
    while teller == session_id:
        teller, repeated = services.report(done.job_id, "ended")
    assert (teller, repeated) == (successor, report)
    assert services.log(done.job_id) == ["done"]
    settle(services, successor, report, 1)
