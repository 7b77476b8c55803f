"""What all clients share: how to connect, where librdkafka's logs go, what its errors mean to a caller."""

from __future__ import annotations

import logging
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException

from penstock.core.errors import PenstockError, Problem, RejectInput, RetryLater, StopProcess
from penstock.runtime.clock import Clock
from penstock.runtime.log import logger
from penstock.runtime.settings import KafkaSettings

LIBRARY_LOG: Final = logging.getLogger("penstock.kafka.librdkafka")
# What fails to connect is told by the error callback, once; the library says it many times a second.
LIBRARY_LOG.addFilter(lambda line: not line.getMessage().startswith("FAIL "))
QUIET_SECONDS: Final = 10.0
"""The same error of a client is told again only after so long."""

log = logger(__name__)

_TOO_LARGE: Final = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE))
_REFUSED: Final = frozenset(
    (
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the library's public name of its own error codes
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError._INVALID_ARG,  # noqa: SLF001
    )
)


def client_config(settings: KafkaSettings, name: str) -> dict[str, Any]:
    """The part of a librdkafka configuration that says how to reach the brokers."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": name,
        "socket.keepalive.enable": True,
        # A restarted broker is found again within a second, not ten.
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "logger": LIBRARY_LOG,
    }
    if settings.kafka_sasl_mechanism:
        config["sasl.mechanisms"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = settings.kafka_sasl_password
    return config


class Errors:
    """The errors that a client tells outside of any call; `fatal` ones end it for good."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._told: dict[int, float] = {}
        self.fatal = False

    def note(self, error: KafkaError) -> None:
        """The client's error callback."""
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
            self.fatal = True
        now = self._clock.monotonic()
        if now - self._told.get(error.code(), -QUIET_SECONDS) >= QUIET_SECONDS:
            self._told[error.code()] = now
            log.warning("kafka", client=self._name, error=error.str(), code=error.name(), fatal=self.fatal)


class Client(Protocol):
    """What all of librdkafka's clients can say."""

    def cluster_id(self, timeout: float = ..., /) -> str | None: ...


class Cluster:
    """Which cluster a client speaks to. Another id than before: the old one's offsets and sequence numbers
    mean nothing any more (protocol §8).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.known = ""
        """The newest id; empty before a broker was met."""

    def moved(self, client: Client) -> bool:
        """Whether the client has come to another cluster since the last call. Asks nobody: every answer of a
        broker about topics tells it, the first one of a connection among them.
        """
        try:
            found = client.cluster_id(0) or self.known
        except KafkaException:
            return False
        before, self.known = self.known, found
        if before in ("", found):
            return False
        log.warning("another cluster", client=self._name, known=before, found=found)
        return True


def translate(error: KafkaError | KafkaException, doing: str) -> PenstockError:
    """Our error for one of librdkafka's, by what the caller does next; `doing` starts the sentence."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    text = f"{doing}: {cause.str()}" if isinstance(cause, KafkaError) else f"{doing}: {cause}"
    code = cause.code() if isinstance(cause, KafkaError) else None
    if code in _TOO_LARGE:
        return RejectInput(Problem(text, hint="split it, or send a reference"))
    if code in _REFUSED:
        return StopProcess(text)
    return RetryLater(text, component="kafka")
