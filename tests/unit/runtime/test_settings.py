from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from penstock.core.errors import StopProcess
from penstock.runtime.settings import (
    KafkaSettings,
    TimingSettings,
    documented,
    load,
    setting,
    unknown_variables,
)


@dataclasses.dataclass(frozen=True)
class Demo:
    """A service's settings."""

    kafka: KafkaSettings
    seconds: float = setting(1.5, doc="How long.")
    loud: bool = setting(doc="Whether to shout.")
    tags: tuple[str, ...] = setting((), doc="Words.")


GIVEN = {"PENSTOCK_KAFKA_BOOTSTRAP": "here:1", "PENSTOCK_LOUD": "yes"}


def test_groups_are_read_in_place() -> None:
    demo = load(Demo, {**GIVEN, "PENSTOCK_TAGS": "a, b,", "PENSTOCK_KAFKA_PARTITIONS": "4"})
    assert demo.kafka == KafkaSettings(kafka_bootstrap="here:1", kafka_partitions=4)
    assert (demo.seconds, demo.loud, demo.tags) == (1.5, True, ("a", "b"))


def test_all_problems_at_once() -> None:
    with pytest.raises(StopProcess) as raised:
        load(Demo, {"PENSTOCK_SECONDS": "soon", "PENSTOCK_LOUD": "perhaps"})
    for part in (
        "PENSTOCK_KAFKA_BOOTSTRAP must be set",
        "PENSTOCK_SECONDS='soon'",
        "PENSTOCK_LOUD='perhaps'",
    ):
        assert part in str(raised.value)


def test_a_value_may_lie_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    given = {**GIVEN, "PENSTOCK_KAFKA_SASL_PASSWORD_FILE": str(secret)}
    assert load(Demo, given).kafka.kafka_sasl_password == "s3cret"
    with pytest.raises(StopProcess, match="PENSTOCK_KAFKA_SASL_PASSWORD_FILE"):
        load(Demo, {**GIVEN, "PENSTOCK_KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "none")})


def test_settings_document_themselves() -> None:
    found = {name: (kind, default, doc) for name, kind, default, doc in documented(Demo)}
    assert found["PENSTOCK_SECONDS"] == ("float", 1.5, "How long.")
    assert found["PENSTOCK_KAFKA_BOOTSTRAP"][:2] == ("str", "required")


def test_a_near_miss_is_named() -> None:
    assert unknown_variables([Demo], {**GIVEN, "PENSTOCK_SECOND": "1", "HOME": "/"}) == [
        "PENSTOCK_SECOND (did you mean PENSTOCK_SECONDS?)"
    ]
    assert unknown_variables([Demo], {**GIVEN, "PENSTOCK_LOUD_FILE": "/x"}) == []


def test_a_dead_runner_is_noticed_within_a_ttl_and_a_scan() -> None:
    default = TimingSettings()
    assert (default.heartbeat_seconds, default.session_ttl_seconds, default.scan_seconds) == (5, 15, 1)


@pytest.mark.parametrize(
    "words", [{"exclusive_seconds": 19}, {"heartbeat_seconds": 30}, {"session_ttl_seconds": 86}]
)
def test_an_exclusive_lease_outlives_what_it_has_to(words: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"PENSTOCK_EXCLUSIVE_SECONDS=.* must be at least"):
        TimingSettings(**words)
