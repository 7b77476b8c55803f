"""The one producer of a process: idempotent, acknowledged by all in-sync replicas, with one poll thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from penstock.core.errors import RetryLater, StopProcess
from penstock.events.topics import MAX_RECORD_BYTES, TOPICS, WARMUP
from penstock.kafka.client import Cluster, Errors, client_config, translate
from penstock.kafka.ports import Done
from penstock.kafka.records import Outgoing
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

FRAMING_BYTES: Final = 64 * 1024
"""Room for headers and framing beyond the largest record, so that a dead letter of it still fits."""
ACKS: Final = "all"
"""Every producer of Penstock waits for all in-sync replicas; it is no setting."""
AT_ONCE: Final = 0.0
"""The client does not wait before it sends. Any wait, however short, ends by a clock of whole milliseconds:
0.2 ms cost 0.9 ms a hop. What a step hands over while the sending thread wakes up is one request anyway."""
POLL_SECONDS: Final = 0.1
ROOM_SECONDS: Final = 0.005
"""How long to wait before trying again when the client's own queue is full."""
DECLARED: Final = tuple(topic.name for topic in TOPICS)

log = logger(__name__)


class Delivery:
    """Counts down the acknowledgements of one batch; one object a batch, not a closure a record."""

    __slots__ = ("_error", "_left", "_lock", "_on_done")

    def __init__(self, expected: int, on_done: Done) -> None:
        self._left = expected
        self._on_done = on_done
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """The client's delivery callback of each record.

        A success without an offset is one that the client infers from a later batch's. It is wrong where the
        broker refused the first batch of a new producer and took the second, which was in flight
        (confluent-kafka-go issue 921): such a record is to be sent again.
        """
        failure: Exception | None = None
        if error is not None:
            failure = translate(error, f"a record to {message.topic()} was not taken")
        elif message.offset() is None:
            failure = RetryLater(
                f"no broker says that it took a record to {message.topic()}", component="kafka"
            )
        self.settle(1, failure)

    def settle(self, count: int, failure: Exception | None = None) -> None:
        """So many more are decided; the last one decides the batch. The first failure is the one told."""
        with self._lock:
            self._left -= count
            known = self._error
            # That some will go if sent again weighs more than that others never will.
            if known is None or (isinstance(failure, RetryLater) and not isinstance(known, RetryLater)):
                self._error = failure
            last = self._left == 0
        if last:
            self._on_done(self._error)


class Producer:
    """A `Sender` on Kafka. `linger_ms` 2 to 5 where frames are many; on control topics as is.

    A record is given up after `delivery_timeout_ms`; what must not be lost is in an outbox or a journal, from
    where it is sent again. As a context manager it is warmed up when entered and closed when left.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        name: str,
        *,
        linger_ms: float = AT_ONCE,
        delivery_timeout_ms: int = 12_000,
        clock: Clock | None = None,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._timeout = delivery_timeout_ms / 1000
        self._config: dict[str, Any] = {
            **client_config(settings, name),
            "acks": ACKS,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "delivery.timeout.ms": delivery_timeout_ms,
            "message.max.bytes": MAX_RECORD_BYTES + FRAMING_BYTES,
            "queue.buffering.max.kbytes": 128 * 1024,
        }
        self._closing = threading.Event()
        self._swap = threading.RLock()
        self._name = name
        try:
            self._client, self._errors = self._connect()
        except KafkaException as error:
            raise StopProcess(f"Kafka settings: {error.args[0].str()}") from error
        self._poller = threading.Thread(target=self._poll, name=f"{name}-acks", daemon=True)
        self._poller.start()

    def __enter__(self) -> Self:
        self.warm_up()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def send(self, records: Sequence[Outgoing]) -> None:
        """See `Sender.send`."""
        if not records:
            return
        acked = threading.Event()
        outcome: list[Exception | None] = []

        def done(error: Exception | None) -> None:
            outcome.append(error)
            acked.set()

        self._produce(records, Delivery(len(records), done), wait_for_room=True)
        # Every record is acknowledged or given up within the delivery timeout; beyond it the client is stuck.
        if not self._clock.sleep(self._timeout + 5, acked):
            self._errors.fatal = True
            raise RetryLater("Kafka's client answers no more", component="kafka")
        if outcome[0] is not None:
            raise outcome[0]

    def post(self, records: Sequence[Outgoing], on_done: Done) -> None:
        """See `Sender.post`. A full queue fails the rest of the batch at once: this never blocks."""
        if not records:
            on_done(None)
            return
        self._produce(records, Delivery(len(records), on_done), wait_for_room=False)

    def partitions(self, topic: str) -> int:
        """See `Sender.partitions`."""
        try:
            found = self._client.list_topics(topic, timeout=self._timeout).topics
        except KafkaException as error:
            raise translate(error, "no Kafka broker answers") from error
        return len(found[topic].partitions)

    def warm_up(self, topics: Iterable[str] = DECLARED, seconds: float = 30.0) -> None:
        """Connect, learn where these topics are, and make the first acknowledged produce, which is slow.

        Raises:
            RetryLater: no broker answered in time.
            StopProcess: a topic does not exist.
        """
        wanted = {*topics, WARMUP.name}
        deadline = self._clock.monotonic() + seconds
        while missing := wanted - self._known_topics(deadline):
            if self._clock.monotonic() >= deadline:
                raise StopProcess(
                    f"topics are missing: {', '.join(sorted(missing))}; run `penstock topics apply`"
                )
            self._clock.sleep(0.2, self._closing)
        self.send([Outgoing(WARMUP.name, None, None, [])])

    def cluster_id(self) -> str:
        """The id of the cluster as the client knows it; empty before it has met a broker. Asks nobody."""
        try:
            return self._client.cluster_id(0) or ""
        except KafkaException:
            return ""

    def rebuild(self) -> None:
        """Start over with a new client: the old one's sequence numbers mean nothing to another cluster.

        Done by itself after a fatal error, or when another cluster id is seen. Records in flight fail with
        `RetryLater`.
        """
        with self._swap:
            self._rebuild()

    def _rebuild(self) -> None:
        old = self._client
        self._client, self._errors = self._connect()
        log.warning("producer rebuilt", client=self._name)
        try:
            old.purge()
            old.flush(1.0)
        except KafkaException as error:
            log.warning("the old producer did not end well", client=self._name, error=str(error))

    def close(self, seconds: float = 5.0) -> None:
        """Wait for what is in flight, at most so long, and stop the poll thread."""
        self._client.flush(seconds)
        self._closing.set()
        self._poller.join()

    def _produce(self, records: Sequence[Outgoing], delivery: Delivery, *, wait_for_room: bool) -> None:
        # Nothing may be handed to a client that is being given up: nobody would ever tell of it.
        with self._swap:
            if self._errors.fatal:
                self._rebuild()
            self._hand_over(records, delivery, wait_for_room=wait_for_room)

    def _hand_over(self, records: Sequence[Outgoing], delivery: Delivery, *, wait_for_room: bool) -> None:
        produce: Callable[..., None] = self._client.produce
        on_delivery = delivery.delivered
        for index, (topic, key, value, headers) in enumerate(records):
            try:
                while True:
                    try:
                        produce(topic, value, key, headers=headers, on_delivery=on_delivery)
                        break
                    except BufferError:
                        if not wait_for_room or self._clock.sleep(ROOM_SECONDS, self._closing):
                            full = RetryLater("the queue to Kafka is full", component="kafka")
                            delivery.settle(len(records) - index, full)
                            return
            except KafkaException as error:
                delivery.settle(1, translate(error, f"a record to {topic} was not taken"))

    def _known_topics(self, deadline: float) -> set[str]:
        while True:
            try:
                return set(self._client.list_topics(timeout=1.0).topics)
            except KafkaException as error:
                if self._clock.monotonic() >= deadline:
                    raise translate(error, "no Kafka broker answers") from error

    def _connect(self) -> tuple[Client, Errors]:
        errors = Errors(self._name, self._clock)
        return Client({**self._config, "error_cb": errors.note}), errors

    def _poll(self) -> None:
        cluster = Cluster(self._name)
        while not self._closing.is_set():
            client, errors = self._client, self._errors
            try:
                client.poll(POLL_SECONDS)
            except KafkaException as error:
                errors.note(error.args[0])
            if cluster.moved(client):
                errors.fatal = True
            # Whoever is handing records over rebuilds it, or this thread does, a moment later: it serves the
            # callbacks that the other may be waiting for.
            if errors.fatal and self._swap.acquire(blocking=False):
                try:
                    if self._errors is errors:
                        self._rebuild()
                finally:
                    self._swap.release()
