"""What is written for the servers, and how the services are started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.core.errors import RetryLater
from penstock.events.topics import MAX_RECORD_BYTES
from penstock.local import kafka, objects
from penstock.local.folder import StackFolder
from penstock.local.ports import Ports
from penstock.local.prepare import until_it_works
from penstock.local.services import SERVICES, service_specs
from penstock.local.settings import LocalSettings


def lines(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_kafka_listens_on_loopback_and_takes_our_largest_record() -> None:
    found = lines(kafka.properties(1, 2, 3))
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2"
    assert found["auto.create.topics.enable"] == "false"
    assert int(found["message.max.bytes"]) > MAX_RECORD_BYTES
    assert found["group.consumer.session.timeout.ms"] == "5000"


def test_s3_paths_survive_a_properties_file() -> None:
    found = lines(objects.properties(1, "k", "s", Path("/pen stöck/a\\b")))
    assert found["jclouds.filesystem.basedir"] == "/pen\\u0020st\\u00f6ck/a\\u005cb"
    assert found["s3proxy.authorization"] == "aws-v4"
    assert found["s3proxy.endpoint"] == "http://127.0.0.1:1"


def test_each_replica_has_its_own_name_and_ports(tmp_path: Path) -> None:
    ports = Ports()
    try:
        specs = service_specs(
            StackFolder(tmp_path),
            LocalSettings(health_port=22_500, gateway_port=22_900),
            ports,
            {
                "PENSTOCK_POSTGRES_DSN": "postgresql://penstock:pw@h:1/p",
                "PENSTOCK_LOG_LEVEL": "debug",
                "PENSTOCK_NAME": "box",
            },
            {**dict.fromkeys(SERVICES, 1), "advancer": 2, "reaper": 0},
        )
    finally:
        ports.close()
    labels = [spec.label for spec in specs]
    assert labels == [
        "intake-0", "advancer-0", "advancer-1", "dispatcher-0",
        "canceller-0", "logs-0", "gateway-0", "runner-0",
    ]  # fmt: skip
    advancer = specs[2].command
    assert advancer.arguments == (sys.executable, "-m", "penstock", "service", "advancer")
    assert advancer.environment["PENSTOCK_INSTANCE"] == "advancer-1"
    assert advancer.environment["PENSTOCK_LOG_LEVEL"] == "debug"
    assert advancer.environment["PENSTOCK_POSTGRES_DSN"] == "postgresql://penstock_advancer:pw@h:1/p"
    assert "PENSTOCK_POSTGRES_DSN" not in specs[-1].command.environment, "a runner has no database"
    assert "PENSTOCK_NAME" not in specs[-1].command.environment, "nor a name that is not its own alone"
    health = [spec.command.environment["PENSTOCK_HTTP_PORT"] for spec in specs]
    assert len(set(health)) == len(specs)
    gateway = specs[6]
    assert gateway.command.environment["PENSTOCK_GATEWAY_PORT"] == str(gateway.port) not in health
    assert specs[7].stop_seconds > specs[0].stop_seconds, "a runner ends its jobs first"


def test_prepare_repeats_while_the_server_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([RetryLater("away"), RetryLater("away"), None])
    pauses: list[float] = []

    def attempt() -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    until_it_works(attempt, pauses.append)
    assert len(pauses) == 2
    assert capsys.readouterr().err == "away\n"
