"""What services check before they take up their work, as the processes that they are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from penstock.kafka.admin import apply_topics
from penstock.runtime.run import EX_CONFIG
from penstock.runtime.settings import KafkaSettings, ObjectSettings


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        ("dispatcher", "workers.offers"),
        ("reaper", "workers.heartbeats"),
        ("logs", "logs.frames"),
        ("gateway", "logs.frames"),
    ],
)
def test_another_number_of_partitions_than_the_topics_have(
    kafka_settings: KafkaSettings,
    postgres_dsn: str,
    object_settings: ObjectSettings,
    service: str,
    topic: str,
) -> None:
    apply_topics(kafka_settings)
    there = kafka_settings.kafka_partitions
    environ = {
        **os.environ,
        "PENSTOCK_KAFKA_BOOTSTRAP": kafka_settings.kafka_bootstrap,
        "PENSTOCK_KAFKA_PARTITIONS": str(there + 1),
        "PENSTOCK_POSTGRES_DSN": postgres_dsn,
        "PENSTOCK_GATEWAY_PORT": "0",
        **{f"PENSTOCK_{name.upper()}": str(value) for name, value in asdict(object_settings).items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", f"penstock_services.{service}"],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == EX_CONFIG, done.stderr
    assert f"topic penstock.{topic} has {there} partitions" in done.stderr
    assert "Traceback" not in done.stderr
