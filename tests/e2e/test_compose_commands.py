"""Each command of compose.yaml as a process on the real servers: it gets ready, and drains on SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from penstock.testing.servers import Servers

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def words(service: dict[str, Any]) -> list[str]:
    """Entry point and command as the container would run them; the image's own entry point is `penstock`."""
    return [*service.get("entrypoint", ["penstock"]), *service["command"]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def environ(
    real_servers: Servers, postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Where compose.yaml names its servers, ours; the rest of its environment stays as it is."""
    objects = real_servers.objects
    return {
        "PENSTOCK_LOCAL_TOKEN": "of-a-test",
        # Of a stack that runs here already the services keep the password that they have.
        "PENSTOCK_LOCAL_PASSWORD": urlsplit(postgres_dsn).password or "",
        **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PENSTOCK_KAFKA_BOOTSTRAP": real_servers.kafka.kafka_bootstrap,
        "PENSTOCK_POSTGRES_DSN": postgres_dsn,
        "PENSTOCK_S3_ENDPOINT": objects.s3_endpoint,
        "PENSTOCK_S3_ACCESS_KEY": objects.s3_access_key,
        "PENSTOCK_S3_SECRET_KEY": objects.s3_secret_key,
        "PENSTOCK_S3_BUCKET": objects.s3_bucket,
        "PENSTOCK_STATE_DIR": str(tmp_path_factory.mktemp("state")),
    }


@pytest.mark.parametrize("name", [name for name in OURS if "service" in words(OURS[name])])
def test_a_service_of_the_compose_file_starts_and_drains(
    name: str, environ: dict[str, str], wait_until: Callable[..., None], tmp_path: Path
) -> None:
    port = free_port()
    command = words(OURS[name])
    assert command[0] == "penstock"
    own = {"PENSTOCK_HTTP_PORT": str(port), "PENSTOCK_GATEWAY_PORT": str(free_port())}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**environ, **own}, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: _ready(port) or process.poll() is not None)
            assert process.poll() is None, (tmp_path / "log").read_text()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("name", [name for name in OURS if "service" not in words(OURS[name])])
def test_a_set_up_of_the_compose_file_ends_well(name: str, environ: dict[str, str]) -> None:
    ended = subprocess.run(
        words(OURS[name]), env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
