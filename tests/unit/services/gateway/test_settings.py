"""Settings that make no sense are refused by name."""

from __future__ import annotations

import pytest

from penstock.core.errors import StopProcess
from penstock.runtime.settings import load
from penstock_services.gateway.settings import GatewaySettings

NEEDED = {
    "PENSTOCK_KAFKA_BOOTSTRAP": "k:1",
    "PENSTOCK_POSTGRES_DSN": "postgresql://p",
    "PENSTOCK_S3_ACCESS_KEY": "a",
    "PENSTOCK_S3_SECRET_KEY": "b",
}


def test_defaults() -> None:
    settings = load(GatewaySettings, NEEDED)
    assert (settings.gateway_host, settings.acceptance_wait_seconds) == ("127.0.0.1", 2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_PUBLIC_URL", "ci.example.org"),
        ("PENSTOCK_GATEWAY_CONNECTIONS", "0"),
        ("PENSTOCK_GATEWAY_LOG_CONNECTIONS", "0"),
        ("PENSTOCK_GATEWAY_PORT", "http"),
    ],
)
def test_senseless_ones(name: str, value: str) -> None:
    with pytest.raises(StopProcess, match=name):
        load(GatewaySettings, {**NEEDED, name: value})
