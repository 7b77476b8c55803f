"""Finds the real servers that tests run against, in this order: addresses from the environment, a local stack
that runs here, a local stack of our own that is started for the run, containers where an engine answers.

Under CI a missing server is an error, never a skipped test.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from penstock.core.errors import RetryLater, StopProcess
from penstock.runtime.clock import SystemClock, pause
from penstock.runtime.settings import (
    KafkaSettings,
    ObjectSettings,
    PostgresSettings,
    environment,
    load,
)

START_SECONDS = 180.0


class Servers(NamedTuple):
    """How tests reach them."""

    kafka: KafkaSettings
    postgres: PostgresSettings
    objects: ObjectSettings


class Stack:
    """A `penstock up` of our own in a temporary folder; `words` are its further arguments.

    Where the system can do it (Linux), it ends when the thread that made it does, however that ends.
    """

    def __init__(self, words: list[str], environ: dict[str, str] | None = None) -> None:
        from penstock.local.process import LAUNCH

        self.folder = Path(tempfile.mkdtemp(prefix="penstock-test-"))
        # As root, Postgres runs as another user and must reach its data below this folder.
        self.folder.chmod(0o755)
        self._log = (self.folder / "up.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(LAUNCH), str(int(signal.SIGTERM)), str(os.getpid()), "-"),
                *(sys.executable, "-m", "penstock", "up", *words),
            ],
            cwd=self.folder,
            env={**environment(), **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Until it is ready. Raises StopProcess with its output when it is not."""
        clock = SystemClock()
        deadline = clock.monotonic() + START_SECONDS
        while clock.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(RetryLater):
                self.read()
                return
            pause(0.05)
        raise StopProcess(f"the test stack did not start:\n{self.output()}")

    def read(self) -> object:
        """Its `stack.json`. Raises RetryLater while it is starting."""
        from penstock.local.stack import read_stack

        return read_stack(self.folder)

    def kill_kafka(self, *, wipe: bool = False) -> None:
        """SIGKILL for the broker, which is started again; with `wipe` its data are gone, and it is formatted
        under a fresh cluster id.
        """
        from penstock.local.folder import NAME, StackFolder
        from penstock.local.stack import read_stack

        pid = read_stack(self.folder).pids["kafka"]
        if wipe:
            data = StackFolder(self.folder / NAME).data / "kafka" / "log"
            data.rename(data.with_name(f"lost-{pid}"))
        os.kill(pid, signal.SIGKILL)

    def output(self) -> str:
        """What `penstock up` has printed so far."""
        return (self.folder / "up.log").read_text(errors="replace")

    def stop(self) -> None:
        """Stop it and remove its folder."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """The servers of this run, started if need be and then stopped at the end.

    Raises:
        StopProcess: there is no way to have them here.
    """
    given = environment()
    if all(
        name in given
        for name in ("PENSTOCK_KAFKA_BOOTSTRAP", "PENSTOCK_POSTGRES_DSN", "PENSTOCK_S3_ENDPOINT")
    ):
        yield Servers(load(KafkaSettings), load(PostgresSettings), load(ObjectSettings))
        return
    try:
        from penstock.local.stack import read_stack
    except ImportError:
        with _containers() as found:
            yield found
        return
    with contextlib.suppress(RetryLater):
        running = read_stack(Path.cwd())
        yield Servers(running.kafka_settings(), running.postgres_settings(), running.object_settings())
        return
    stack = Stack(["--servers-only"])
    try:
        stack.wait()
        ours = read_stack(stack.folder)
        yield Servers(ours.kafka_settings(), ours.postgres_settings(), ours.object_settings())
    finally:
        stack.stop()


@contextlib.contextmanager
def _containers() -> Iterator[Servers]:
    """Throw-away containers of the images in compose.yaml."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs
    from testcontainers.kafka import KafkaContainer
    from testcontainers.postgres import PostgresContainer

    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    s3 = (
        DockerContainer("versity/versitygw:latest")
        .with_env("ROOT_ACCESS_KEY", key)
        .with_env("ROOT_SECRET_KEY", secret)
        .with_command("posix /tmp")
        .with_exposed_ports(7070)
    )
    with PostgresContainer("postgres:18", driver=None) as postgres, KafkaContainer() as kafka, s3:
        wait_for_logs(s3, "listening", timeout=60)
        yield Servers(
            KafkaSettings(kafka_bootstrap=kafka.get_bootstrap_server()),
            PostgresSettings(postgres_dsn=postgres.get_connection_url()),
            ObjectSettings(
                s3_endpoint=f"http://{s3.get_container_host_ip()}:{s3.get_exposed_port(7070)}",
                s3_access_key=key,
                s3_secret_key=secret,
            ),
        )
