"""Topics as declared against topics as they are: `penstock topics apply` and `diff`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# `confluent_kafka.admin` re-exports these without saying so; type checkers want their own modules.
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

from penstock.core.errors import RetryLater
from penstock.events.topics import DLQ_RETENTION_MS, MAX_RECORD_BYTES, TOPICS, Topic, dlq_of
from penstock.kafka.client import client_config, translate
from penstock.kafka.producer import FRAMING_BYTES
from penstock.runtime.clock import Clock, SystemClock
from penstock.runtime.settings import KafkaSettings

ANSWER_SECONDS: Final = 30.0
VISIBLE_SECONDS: Final = 15.0
"""How long new topics may take to show up in the metadata."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A topic as it should be."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Change:
    """One difference: in words, and how to end it (None: only a person can)."""

    words: str
    apply: Callable[[AdminClient], Future[Any]] | None


def wanted_topics(settings: KafkaSettings, topics: Sequence[Topic] = TOPICS) -> list[Wanted]:
    """These topics and their dead-letter topics as this installation should have them."""
    found: list[Wanted] = []
    for topic in topics:
        partitions = settings.kafka_partitions if topic.partitioned else 1
        found.append(Wanted(topic.name, partitions, _config(settings, topic)))
        if topic.dlq:
            letters = {
                **_config(settings, topic),
                "retention.ms": str(DLQ_RETENTION_MS),
                "max.message.bytes": str(MAX_RECORD_BYTES + FRAMING_BYTES),
            }
            found.append(Wanted(dlq_of(topic.name), 1, letters))
    return found


def apply_topics(
    settings: KafkaSettings, topics: Sequence[Topic] = TOPICS, clock: Clock | None = None
) -> list[str]:
    """Create what is missing, mend what differs; returns what was done, in words. Idempotent.

    Partitions are only ever added: a topic with more of them than wanted stays as it is.

    Raises:
        RetryLater: the brokers are away, or the new topics do not show up.
        StopProcess: the brokers refuse.
    """
    admin = AdminClient(client_config(settings, "penstock-topics"))
    wanted = wanted_topics(settings, topics)
    done: list[str] = []
    changes = _changes(admin, wanted, settings.kafka_replication)
    futures = [(change.words, change.apply(admin)) for change in changes if change.apply is not None]
    for words, future in futures:
        _result(future, words)
        done.append(words)
    if done:
        _wait_until_visible(admin, wanted, settings.kafka_replication, clock or SystemClock())
    return done


def diff_topics(settings: KafkaSettings, topics: Sequence[Topic] = TOPICS) -> list[str]:
    """Every difference between the topics as declared and as they are, in words; empty when there is none.

    Raises:
        RetryLater: the brokers are away.
    """
    admin = AdminClient(client_config(settings, "penstock-topics"))
    wanted = wanted_topics(settings, topics)
    return [change.words for change in _changes(admin, wanted, settings.kafka_replication)]


def _config(settings: KafkaSettings, topic: Topic) -> dict[str, str]:
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_ms),
        "max.message.bytes": str(topic.max_bytes),
        # The broker's clock: a client with a wrong one must not have its records deleted on arrival.
        "message.timestamp.type": "LogAppendTime",
    }
    if topic.flush_each:
        config["flush.messages"] = "1"
    if settings.kafka_replication >= 3:
        config["min.insync.replicas"] = "2"
        config["unclean.leader.election.enable"] = "false"
    return config


def _changes(admin: AdminClient, wanted: list[Wanted], replication: int) -> list[Change]:
    try:
        existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise translate(error, "no Kafka broker answers") from error
    configs = _configs(admin, [topic.name for topic in wanted if topic.name in existing])
    changes: list[Change] = []
    for topic in wanted:
        if topic.name not in existing:
            changes.append(_creation(topic, replication))
            continue
        changes += _partition_changes(topic, len(existing[topic.name].partitions))
        changes += _config_changes(topic, configs[topic.name])
    return changes


def _creation(topic: Wanted, replication: int) -> Change:
    new = NewTopic(topic.name, topic.partitions, replication, config=dict(topic.config))
    return Change(
        f"{topic.name}: create with {topic.partitions} partitions",
        lambda admin: admin.create_topics([new])[topic.name],
    )


def _partition_changes(topic: Wanted, there: int) -> list[Change]:
    if there == topic.partitions:
        return []
    words = f"{topic.name}: {there} partitions, wanted {topic.partitions}"
    if there > topic.partitions:
        return [Change(f"{words} (partitions cannot be taken away)", None)]
    new = NewPartitions(topic.name, topic.partitions)
    return [Change(words, lambda admin: admin.create_partitions([new])[topic.name])]


def _config_changes(topic: Wanted, there: Mapping[str, str]) -> list[Change]:
    off = {name: value for name, value in topic.config.items() if there.get(name) != value}
    if not off:
        return []
    told = ", ".join(f"{name} is {there.get(name)}, wanted {value}" for name, value in off.items())
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in off.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic.name, incremental_configs=entries)
    return [
        Change(f"{topic.name}: {told}", lambda admin: admin.incremental_alter_configs([resource])[resource])
    ]


def _configs(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    found: dict[str, dict[str, str]] = {}
    for resource, future in asked.items():
        entries = _result(future, f"cannot read the settings of {resource.name}")
        found[resource.name] = {entry.name: entry.value for entry in entries.values()}
    return found


def _wait_until_visible(admin: AdminClient, wanted: list[Wanted], replication: int, clock: Clock) -> None:
    """A broker shows new topics, partitions and settings a moment after it has acknowledged them."""
    deadline = clock.monotonic() + VISIBLE_SECONDS
    while True:
        missing = [
            change.words for change in _changes(admin, wanted, replication) if change.apply is not None
        ]
        if not missing:
            return
        if clock.monotonic() > deadline:
            raise RetryLater(f"topics do not show up: {', '.join(missing)}", component="kafka")
        admin.poll(0.05)


def _result(future: Future[Any], doing: str) -> Any:
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        raise translate(error, doing) from error
