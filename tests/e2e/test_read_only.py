"""A Postgres that takes no writes for a while, as when a primary is demoted or its disk is full."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from penstock.core.ids import uuid4
from penstock.store.database import Database

SWITCH = "ALTER SYSTEM SET default_transaction_read_only = "


def switch(client: Any, value: str) -> None:
    # A session of its own may write whatever the default is.
    database = Database(f"{client.stack.postgres.dsn}?options=-c%20transaction_read_only%3Doff", "test")
    database.rows("SET default_transaction_read_only = off")
    database.rows(SWITCH + value)
    database.rows("SELECT pg_reload_conf()")
    database.close()


def post(client: Any, key: str) -> int:
    request = urllib.request.Request(
        f"{client.stack.gateway.url}/v1/pipelines",
        data=json.dumps({"definition": {"jobs": {"a": {"executor": "noop"}}}}).encode(),
        headers={
            "Authorization": f"Bearer {client.stack.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        },
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        status: int = answer.status
    return status


def test_nothing_is_lost_while_postgres_takes_no_writes(
    start_stack: Any, wait_until: Any, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    runs, go = tmp_path / "runs", tmp_path / "go"
    with start_stack(PENSTOCK_ACCEPTANCE_WAIT_SECONDS="1") as stack:
        long, by_kafka, by_http = uuid4(), uuid4(), uuid4()
        script = f"echo run >> '{runs}'; while [ ! -e '{go}' ]; do sleep 0.1; done"
        stack.submit({"jobs": {"job": {"run": script}}}, long)
        wait_until(lambda: stack.jobs(long).get("job", ("",))[0] == "RUNNING" and runs.exists())
        beats = "SELECT max(heartbeat) FROM workers WHERE kind = 'runner'"
        expires = "SELECT clock_timestamp() > max(expires_at) + interval '3 seconds' FROM leases"
        switch(stack, "on")
        try:
            stack.submit({"jobs": {"a": {"executor": "noop"}}}, by_kafka)
            assert post(stack, by_http) == 202
            wait_until(lambda: bool(stack.db.one(expires)))
        finally:
            switch(stack, "off")
        seen = stack.db.one(beats)
        assert stack.wait(by_kafka, by_http) == dict.fromkeys((by_kafka, by_http), "SUCCESS")
        wait_until(lambda: stack.db.one(beats) > seen)
        go.touch()
        assert stack.wait(long) == {long: "SUCCESS"}
        assert runs.read_text() == "run\n", "its lease was over, but nobody could have renewed it"
        assert all(stack.component(one.name).restarts == 0 for one in stack.stack.components)
        assert stack.raw("penstock.pipelines.requested.dlq") == []
