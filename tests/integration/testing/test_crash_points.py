"""At every crash point the real process dies exactly there: what it did is there, what comes next is not.

And the stack goes on: every pipeline ends as it should, and no attempt of a job begins twice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from penstock.client import Patience
from penstock.core.errors import RetryLater
from penstock.core.ids import uuid4
from penstock.events import topics
from penstock.objects.s3 import S3Objects
from penstock.testing.chaos import hooks
from penstock.testing.chaos.arena import Arena, frozen
from penstock.testing.chaos.stack import HOLDS
from penstock.testing.turns import due, turn

WAIT_SECONDS: Final = 90.0
BODY: Final = 'echo "start $CI_ATTEMPT" >> {file}; echo said; {body}; echo "end $CI_ATTEMPT" >> {file}'
AT_ONCE: Final = 8
READ: Final = {
    "intake": topics.PIPELINES_REQUESTED,
    "advancer": topics.JOBS_REPORTS,
    "canceller": topics.CANCEL_REQUESTED,
    "logs": topics.LOGS_FRAMES,
}
"""Who has died reads again what it had not committed, seconds later: no later scene may meet that."""
LONG: Final = "[ $CI_ATTEMPT -gt 1 ] || sleep 60"
"""A job whose first attempt does not end by itself."""

pytestmark = pytest.mark.timeout(400)


class Found(NamedTuple):
    """A record of a topic."""

    partition: int
    offset: int
    key: str
    value: Any
    """JSON; None where it is none."""


class Town:
    """The stack, and what its databases, topics and files say."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.db = arena.db
        self.client = arena.client()
        self.ends: dict[str, str] = {}
        """How the pipeline of each request is to end."""
        self.runs = arena.folder / "runs"
        self.runs.mkdir()
        self._producer = Producer({"bootstrap.servers": arena.stack.kafka.bootstrap})
        self._reader = self._consumer("test")
        settings = arena.stack.object_settings()
        self._objects = S3Objects(settings)

    def close(self) -> None:
        self._reader.close()
        del self._producer  # it would go on looking for its broker

    # What is asked for

    def definition(self, key: str, body: str = "true") -> dict[str, Any]:
        """One job, which writes down where it begins and ends."""
        return {"jobs": {"a": {"run": BODY.format(file=self.runs / key, body=body)}}}

    def ask(self, body: str = "true") -> str:
        """A pipeline by the event door; returns its key."""
        key = uuid4()
        self.ends[key] = "SUCCESS"
        request = {"tenant": "default", "request_id": key, "definition": self.definition(key, body)}
        self._producer.produce(topics.PIPELINES_REQUESTED.name, key="default", value=orjson.dumps(request))
        assert self._producer.flush(30) == 0
        return key

    def running(self, body: str = LONG) -> str:
        """A pipeline whose job runs."""
        key = self.ask(body)
        self.until(lambda: self.job(key)["state"] == "RUNNING")
        return key

    # What is there

    def until(self, done: Callable[[], bool]) -> None:
        self.arena.until(done, WAIT_SECONDS)

    def pipeline(self, key: str) -> dict[str, Any]:
        """Its row; empty when there is none."""
        rows = self.db.rows("SELECT id::text, state FROM pipelines WHERE request_id = %s", (key,))
        return dict(zip(("id", "state"), rows[0], strict=True)) if rows else {}

    def job(self, key: str) -> dict[str, Any]:
        """The row of its job, with a state of its own when there is none."""
        rows = self.db.rows(
            "SELECT j.id::text, j.state, j.attempt, j.version FROM jobs AS j"
            " JOIN pipelines AS p ON p.id = j.pipeline_id WHERE p.request_id = %s",
            (key,),
        )
        values = rows[0] if rows else ("", "ABSENT", 0, 0)
        return dict(zip(("id", "state", "attempt", "version"), values, strict=True))

    def outbox(self, text: str, actor: str) -> int:
        """Rows of this process that have something of it."""
        of = "SELECT count(*) FROM outbox WHERE events::text LIKE %s AND actor = %s"
        found: int = self.db.one(of, (f"%{text}%", actor))
        return found

    def chunks(self, job_id: str) -> int:
        """Of its log, in the index."""
        found: int = self.db.one("SELECT count(*) FROM log_chunks WHERE job_id = %s::uuid", (job_id,))
        return found

    def objects(self, job_id: str) -> int:
        """Of its log, in the storage."""
        return sum(job_id in found.key for found in self._objects.list("logs/"))

    def journalled(self, job_id: str) -> set[str]:
        """Kinds of the reports of it that are in the runner's journal."""
        (file,) = (self.arena.folder / ".penstock" / "runner").glob("*/journal")
        entries = [orjson.loads(line).get("entry") for line in file.read_bytes().splitlines()]
        reports = [entry["report"] for entry in entries if entry]
        return {report["kind"] for report in reports if report["job_id"] == job_id}

    def body(self, key: str) -> list[str]:
        """What its job wrote down."""
        file: Path = self.runs / key
        return file.read_text().splitlines() if file.exists() else []

    def on(self, topic: topics.Topic, text: str) -> list[Found]:
        """Records of the topic whose key or value has the text."""
        numbers = self._reader.list_topics(topic.name, timeout=30).topics[topic.name].partitions
        left: dict[int, int] = {}
        for number in numbers:
            low, high = self._reader.get_watermark_offsets(TopicPartition(topic.name, number), timeout=30)
            if low < high:
                left[number] = high - 1
        self._reader.assign([TopicPartition(topic.name, number, 0) for number in left])
        found: list[Found] = []
        while left:
            for message in self._reader.consume(1000, 0.05):
                assert message.error() is None
                number, offset = message.partition() or 0, message.offset() or 0
                key, value = message.key() or b"", message.value() or b""
                if text.encode() in key + value:
                    parsed = orjson.loads(value) if value.startswith(b"{") else None
                    found.append(Found(number, offset, str(key), parsed))
                if offset == left.get(number):
                    del left[number]
        return found

    def reports(self, job_id: str, kind: str) -> int:
        """Of the runner, on their topic."""
        records = [one.value["reports"] for one in self.on(topics.JOBS_REPORTS, job_id)]
        return sum((one["job_id"], one["kind"]) == (job_id, kind) for record in records for one in record)

    def told(self, job: dict[str, Any]) -> bool:
        """Whether the newest state of the job is on the topic of states."""
        found = self.on(topics.JOBS_STATUS, job["id"])
        return any(
            (one.value["job_id"], one.value["version"]) == (job["id"], job["version"]) for one in found
        )

    def announced(self, pipeline_id: str) -> bool:
        """Whether its creation is on the topic of states."""
        return any(one.value["version"] == 1 for one in self.on(topics.PIPELINES_STATUS, pipeline_id))

    def stops(self, job_id: str) -> bool:
        """Whether a runner was told to stop it."""
        found = self.on(topics.WORKERS_CONTROL, job_id)
        return any(job_id == stop["job_id"] for one in found for stop in one.value.get("stop", ()))

    def offsets(self, group: str, topic: topics.Topic) -> dict[int, int]:
        """Where the group goes on, a partition."""
        member = self._consumer(group)
        try:
            found = member.list_topics(topic.name, timeout=30).topics[topic.name].partitions
            places = member.committed([TopicPartition(topic.name, number) for number in found], timeout=30)
        finally:
            member.close()
        return {place.partition: place.offset for place in places}

    def all_read(self) -> bool:
        """Whether each service is done with what it reads: nothing of it will come to it again."""
        return all(self._is_read(f"penstock-{service}", topic) for service, topic in READ.items())

    def _is_read(self, group: str, topic: topics.Topic) -> bool:
        return all(
            self._end(topic, number) in (0, reached) for number, reached in self.offsets(group, topic).items()
        )

    def _end(self, topic: topics.Topic, number: int) -> int:
        _, high = self._reader.get_watermark_offsets(TopicPartition(topic.name, number), timeout=30)
        return high

    # What is done to it

    @contextlib.contextmanager
    def dying(self, point: str, *, reaper_goes_on: bool = False) -> Iterator[Callable[[], None]]:
        """Gives what waits for the death at the point; the process stays dead for as long as this lasts.

        Nobody sweeps meanwhile.
        """
        service = hooks.POINTS[point].service
        label = f"{service}-0"
        pid = self.arena.process(label)
        hold = self.arena.folder / HOLDS / label
        before = len(hooks.bites(self.arena.hooks))

        def dead() -> None:
            self.until(lambda: any(bite.point == point for bite in hooks.bites(self.arena.hooks)[before:]))
            assert (label, point, pid) in [bite[:3] for bite in hooks.bites(self.arena.hooks)]
            self.until(lambda: self.arena.component(label).pid == 0)

        with contextlib.ExitStack() as undo:
            if service != "reaper" and not reaper_goes_on:
                undo.enter_context(frozen(self.arena, "reaper-0"))
            hold.touch()
            undo.callback(self.arena.release, label)
            hooks.arm(self.arena.hooks, label, point)
            yield dead

    def settled(self) -> None:
        """All ended as they should, and no attempt began twice."""
        keys = list(self.ends)
        ended = "SELECT request_id, state FROM pipelines WHERE request_id = ANY(%s)"
        self.until(lambda: dict(self.db.rows(ended, (keys,))) == self.ends)
        for key in keys:
            begun = [line for line in self.body(key) if line.startswith("start")]
            assert len(begun) == len(set(begun))
        self.ends.clear()
        self.until(self.arena.all_ready)
        self.until(lambda: self.db.one("SELECT count(*) FROM outbox") == 0)
        self.until(self.all_read)

    def _consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.arena.stack.kafka.bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
            }
        )


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    # Long enough to look before the relay does; short enough that no old frame is stored in a later scene.
    clocks = {"PENSTOCK_RELAY_AFTER_SECONDS": "4", "PENSTOCK_LOG_CHUNK_SECONDS": "1"}
    with Arena(environ=clocks) as arena, contextlib.closing(Town(arena)) as made:
        yield made


Scene = Callable[[Town], None]
SCENES: Final[dict[str, Scene]] = {}


def scene(point: str) -> Callable[[Scene], Scene]:
    """The scene that proves this point."""

    def add(made: Scene) -> Scene:
        SCENES[point] = made
        return made

    return add


@scene("gateway.before-commit")
def gateway_before_commit(town: Town) -> None:
    key = uuid4()
    with town.dying("gateway.before-commit") as dead:
        with pytest.raises(RetryLater):
            town.client.submit(key, definition=town.definition(key))
        dead()
        assert town.db.rows("SELECT FROM requests WHERE key = %s", (key,)) == []
        assert town.on(topics.PIPELINES_REQUESTED, key) == []
    Patience(WAIT_SECONDS).call(lambda: town.client.submit(key, definition=town.definition(key)))
    town.ends[key] = "SUCCESS"


@scene("gateway.committed")
def gateway_committed(town: Town) -> None:
    key = uuid4()
    with town.dying("gateway.committed") as dead:
        with pytest.raises(RetryLater):
            town.client.submit(key, definition=town.definition(key))
        dead()
        ((pipeline_id, state),) = town.db.rows(
            "SELECT pipeline_id::text, state FROM requests WHERE key = %s", (key,)
        )
        assert state == "RECEIVED"
        assert town.on(topics.PIPELINES_REQUESTED, key) == []
    again = Patience(WAIT_SECONDS).call(lambda: town.client.submit(key, definition=town.definition(key)))
    assert again["pipeline_id"] == pipeline_id
    town.ends[key] = "SUCCESS"


@scene("intake.before-commit")
def intake_before_commit(town: Town) -> None:
    with town.dying("intake.before-commit") as dead:
        key = town.ask()
        dead()
        assert len(town.on(topics.PIPELINES_REQUESTED, key)) == 1
        assert town.pipeline(key) == {}


@scene("intake.committed")
def intake_committed(town: Town) -> None:
    with town.dying("intake.committed") as dead:
        key = town.ask()
        dead()
        pipeline_id = town.pipeline(key)["id"]
        assert town.outbox(pipeline_id, "intake-0") == 1
        assert not town.announced(pipeline_id)


def at_the_relay(town: Town, point: str, *, published: bool | None) -> None:
    """The relay finds what a dead intake has left."""
    intake = town.dying("intake.committed", reaper_goes_on=True)
    with town.dying(point) as dead, intake as intake_dead:
        key = town.ask()
        intake_dead()
        dead()
        pipeline_id = town.pipeline(key)["id"]
        assert town.outbox(pipeline_id, "intake-0") == 1
        if published is not None:
            assert town.announced(pipeline_id) == published


@scene("relay.read")
def relay_read(town: Town) -> None:
    at_the_relay(town, "relay.read", published=False)


@scene("relay.produced")
def relay_produced(town: Town) -> None:
    # Whether they have left the process is open: that is what makes this point one of its own.
    at_the_relay(town, "relay.produced", published=None)


@scene("relay.acked")
def relay_acked(town: Town) -> None:
    at_the_relay(town, "relay.acked", published=True)


@scene("advancer.polled")
def advancer_polled(town: Town) -> None:
    with town.dying("advancer.polled") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert town.reports(job["id"], "started") + town.reports(job["id"], "ended") > 0
        assert job["state"] == "ASSIGNED"


@scene("advancer.before-commit")
def advancer_before_commit(town: Town) -> None:
    with town.dying("advancer.before-commit") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert town.reports(job["id"], "ended") > 0
        assert job["state"] in ("ASSIGNED", "RUNNING")


@scene("advancer.in-transaction")
def advancer_in_transaction(town: Town) -> None:
    with town.dying("advancer.in-transaction") as dead:
        key = town.ask()
        dead()
        town.until(lambda: town.job(key)["state"] == "SUCCESS")  # Postgres does it for nobody
        job = town.job(key)
        assert town.outbox(job["id"], "advancer-0") > 0
        assert not town.told(job)


@scene("advancer.committed")
def advancer_committed(town: Town) -> None:
    with town.dying("advancer.committed") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert job["state"] in ("RUNNING", "SUCCESS")
        assert town.outbox(job["id"], "advancer-0") > 0
        assert not town.told(job)


@scene("advancer.before-offset")
def advancer_before_offset(town: Town) -> None:
    with town.dying("advancer.before-offset") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert job["state"] in ("RUNNING", "SUCCESS")
        assert town.told(job)
        report = town.on(topics.JOBS_REPORTS, job["id"])[0]
        assert town.offsets("penstock-advancer", topics.JOBS_REPORTS)[report.partition] <= report.offset


@scene("dispatcher.picked")
def dispatcher_picked(town: Town) -> None:
    with town.dying("dispatcher.picked") as dead:
        key = town.ask()
        dead()
        assert (town.job(key)["state"], town.job(key)["attempt"]) == ("QUEUED", 0)


@scene("dispatcher.claimed")
def dispatcher_claimed(town: Town) -> None:
    with town.dying("dispatcher.claimed") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert (job["state"], job["attempt"]) == ("ASSIGNED", 1)
        assert town.outbox(job["id"], "dispatcher-0") > 0
        assert town.on(topics.WORKERS_GRANTS, job["id"]) == []


@scene("runner.granted")
def runner_granted(town: Town) -> None:
    with town.dying("runner.granted") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert job["state"] == "ASSIGNED"
        assert len(town.on(topics.WORKERS_GRANTS, job["id"])) == 1
        assert town.on(topics.JOBS_REPORTS, job["id"]) == []
        assert town.journalled(job["id"]) == set()
        assert town.body(key) == []


@scene("runner.started")
def runner_started(town: Town) -> None:
    with town.dying("runner.started") as dead:
        key = town.ask(LONG)
        dead()
        job = town.job(key)
        assert town.reports(job["id"], "started") == 1
        assert town.journalled(job["id"]) == {"started"}
        assert "end 1" not in town.body(key)


@scene("runner.ended")
def runner_ended(town: Town) -> None:
    with town.dying("runner.ended") as dead:
        key = town.ask("sleep 0.3")
        dead()
        job = town.job(key)
        assert town.body(key) == ["start 1", "end 1"]
        assert town.reports(job["id"], "ended") == 0
        assert "ended" not in town.journalled(job["id"])
    town.until(lambda: town.pipeline(key)["state"] == "SUCCESS")
    assert town.body(key)[2:] == ["start 2", "end 2"], "nobody was told that it had ended"


@scene("runner.reported")
def runner_reported(town: Town) -> None:
    with town.dying("runner.reported") as dead:
        key = town.ask()
        dead()
        job = town.job(key)
        assert town.reports(job["id"], "ended") == 1
        assert "ended" in town.journalled(job["id"])
    town.until(lambda: town.pipeline(key)["state"] == "SUCCESS")
    assert town.body(key) == ["start 1", "end 1"]


@scene("reaper.selected")
def reaper_selected(town: Town) -> None:
    key = town.running()
    with town.dying("reaper.selected") as dead:
        town.arena.kill("runner-0")
        dead()
        assert (town.job(key)["state"], town.job(key)["attempt"]) == ("RUNNING", 1)
        over = "SELECT expires_at < clock_timestamp() FROM leases WHERE job_id = %s::uuid"
        assert town.db.one(over, (town.job(key)["id"],))


@scene("reaper.committed")
def reaper_committed(town: Town) -> None:
    key = town.running()
    with town.dying("reaper.committed") as dead:
        town.arena.kill("runner-0")
        dead()
        rows = "SELECT version FROM job_transitions WHERE job_id = %s::uuid AND reason = 'worker-lost'"
        job = town.job(key)
        version = town.db.one(rows, (job["id"],))
        assert version
        assert not town.told({**job, "version": version})


@scene("canceller.committed")
def canceller_committed(town: Town) -> None:
    key = town.running()
    town.ends[key] = "CANCELLED"
    with town.dying("canceller.committed") as dead:
        town.client.cancel_pipeline(town.pipeline(key)["id"])
        dead()
        job = town.job(key)
        assert job["state"] == "CANCELLING"
        assert not town.stops(job["id"])


@scene("logs.consumed")
def logs_consumed(town: Town) -> None:
    with town.dying("logs.consumed") as dead:
        key = town.ask()
        dead()
        job_id = town.job(key)["id"]
        assert town.on(topics.LOGS_FRAMES, job_id)
        assert (town.objects(job_id), town.chunks(job_id)) == (0, 0)
    said(town, key)


@scene("logs.stored")
def logs_stored(town: Town) -> None:
    with town.dying("logs.stored") as dead:
        key = town.ask()
        dead()
        job_id = town.job(key)["id"]
        assert (town.objects(job_id), town.chunks(job_id)) == (1, 0)
    said(town, key)


@scene("logs.indexed")
def logs_indexed(town: Town) -> None:
    with town.dying("logs.indexed") as dead:
        key = town.ask()
        dead()
        job_id = town.job(key)["id"]
        assert (town.objects(job_id), town.chunks(job_id)) == (1, 1)
        frame = town.on(topics.LOGS_FRAMES, job_id)[0]
        assert town.offsets("penstock-logs", topics.LOGS_FRAMES)[frame.partition] <= frame.offset
    said(town, key)


def said(town: Town, key: str) -> None:
    """The whole log, once."""
    town.until(lambda: town.pipeline(key)["state"] == "SUCCESS")
    job_id = town.job(key)["id"]
    batches = Patience(WAIT_SECONDS).call(lambda: list(town.client.log(job_id, follow=True)))
    lines = [line for batch in batches for line in batch]
    assert [line.get("text") for line in lines] == ["said", None]


def test_every_point_has_its_scene() -> None:
    assert SCENES.keys() == hooks.POINTS.keys()


def chosen() -> list[str]:
    """Eight a commit, in turn; those that PENSTOCK_CRASH_POINTS names; or `all`."""
    names = list(SCENES)
    if wanted := os.environ.get("PENSTOCK_CRASH_POINTS", ""):
        return names if wanted == "all" else wanted.split(",")
    return due(names, turn(Path(__file__).parent), AT_ONCE)


@pytest.mark.parametrize("point", chosen())
def test_a_process_dies_exactly_there_and_nothing_is_lost(town: Town, point: str) -> None:
    SCENES[point](town)
    town.settled()


def state(pid: int) -> str:
    """Of a living process, one letter."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_that_stands_still_or_sleeps_goes_on(town: Town) -> None:
    pid = town.arena.process("advancer-0")
    for action in ("sleep:1", "stop"):
        before = len(hooks.bites(town.arena.hooks))
        hooks.arm(town.arena.hooks, "advancer-0", "advancer.polled", action)
        town.ask()
        town.until(lambda: len(hooks.bites(town.arena.hooks)) > before)  # noqa: B023 - looked at now
        if action == "stop":  # a moment after it has bitten
            town.until(lambda: state(pid) == "T")
        town.arena.thaw({pid})
        town.settled()
    assert town.arena.process("advancer-0") == pid
