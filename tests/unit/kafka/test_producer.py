"""The countdown of acknowledgements; the producer around it is tested against a broker."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError

from penstock.core.errors import RejectInput, RetryLater, StopProcess
from penstock.kafka.client import translate
from penstock.kafka.producer import Delivery


class Message:
    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def topic(self) -> str:
        return "penstock.jobs.status"

    def offset(self) -> int | None:
        return self._offset


MESSAGE: Any = Message(12)
INFERRED: Any = Message(None)


def test_told_once_when_the_last_ack_is_in() -> None:
    told: list[Exception | None] = []
    delivery = Delivery(3, told.append)
    delivery.delivered(None, MESSAGE)
    delivery.delivered(None, MESSAGE)
    assert told == []
    delivery.delivered(None, MESSAGE)
    assert told == [None]


def test_the_first_failure_is_told_after_all_are_decided() -> None:
    told: list[Exception | None] = []
    delivery = Delivery(4, told.append)
    delivery.delivered(KafkaError(KafkaError._MSG_TIMED_OUT), MESSAGE)
    delivery.settle(2, RetryLater("the rest"))
    assert told == []
    delivery.delivered(None, MESSAGE)
    (error,) = told
    assert isinstance(error, RetryLater)
    assert "penstock.jobs.status" in str(error)


def test_a_success_that_the_client_infers_is_none() -> None:
    told: list[Exception | None] = []
    delivery = Delivery(2, told.append)
    delivery.delivered(None, INFERRED)
    delivery.delivered(None, MESSAGE)
    assert isinstance(told[0], RetryLater)


def test_what_may_go_later_weighs_more_than_what_never_will() -> None:
    told: list[Exception | None] = []
    delivery = Delivery(3, told.append)
    for code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._MSG_TIMED_OUT, KafkaError.MSG_SIZE_TOO_LARGE):
        delivery.delivered(KafkaError(code), MESSAGE)
    assert isinstance(told[0], RetryLater)


def test_errors_by_what_the_caller_does_next() -> None:
    meanings = {
        KafkaError.MSG_SIZE_TOO_LARGE: RejectInput,
        KafkaError.TOPIC_AUTHORIZATION_FAILED: StopProcess,
        KafkaError._ALL_BROKERS_DOWN: RetryLater,
        KafkaError.UNKNOWN_TOPIC_OR_PART: RetryLater,  # a wiped cluster gets its topics back
        KafkaError.NOT_ENOUGH_REPLICAS: RetryLater,
    }
    for code, meaning in meanings.items():
        assert type(translate(KafkaError(code), "doing this")) is meaning
    assert str(translate(KafkaError(KafkaError._TRANSPORT), "doing this")).startswith("doing this: ")
