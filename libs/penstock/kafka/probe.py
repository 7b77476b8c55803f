"""Is Kafka there? Asked with an acknowledged produce, for a port that listens says nothing yet."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException, Producer

from penstock.events.topics import WARMUP
from penstock.kafka.client import client_config, translate
from penstock.runtime.settings import KafkaSettings


def probe(settings: KafkaSettings, timeout: float) -> str:
    """The id of the cluster that answers.

    Writes an empty record to the warm-up topic and waits for its ack; before topics are applied, an answer to
    a question for metadata has to do.

    Raises:
        RetryLater: nothing answered within `timeout` seconds.
        StopProcess: the brokers refuse these credentials.
    """
    failures: list[KafkaError] = []
    config = {
        **client_config(settings, "penstock-probe"),
        "message.timeout.ms": int(timeout * 1000),
        # Whoever probes waits for a broker that is just starting.
        "reconnect.backoff.max.ms": 100,
    }
    producer = Producer(config)
    try:
        metadata = producer.list_topics(timeout=timeout)
        if WARMUP.name in metadata.topics:
            producer.produce(WARMUP.name, None, on_delivery=lambda e, _m: failures.append(e) if e else None)
            producer.flush(timeout)
    except KafkaException as error:
        raise translate(error, f"Kafka at {settings.kafka_bootstrap} does not answer") from error
    if failures:
        raise translate(failures[0], f"Kafka at {settings.kafka_bootstrap} takes no record")
    return producer.cluster_id(timeout)
