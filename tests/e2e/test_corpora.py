"""Input that others wrote, through the whole stack: where PENSTOCK_CORPORA names their folder."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock.core.ids import uuid4

FOLDER = Path(os.environ.get("PENSTOCK_CORPORA", ""))
REQUESTED = "penstock.pipelines.requested"
pytestmark = [
    pytest.mark.skipif(Path() == FOLDER, reason="PENSTOCK_CORPORA names no folder"),
    pytest.mark.timeout(600),
]


def definitions() -> Iterator[dict[str, Any] | str]:
    """Documents that are no pipelines of ours: YAML as text, JSON as objects."""
    for file in sorted((FOLDER / "bad/yaml/src").glob("*.yaml")):
        yield from (case["yaml"] for case in yaml.safe_load(file.read_text()) if case.get("yaml"))
    for file in sorted((FOLDER / "ci").glob("*.ndjson")):
        yield from map(json.loads, file.read_text().splitlines())
    for folder in ("webhooks", "cdevents-0.5.1"):
        for file in sorted((FOLDER / folder).rglob("*.json")):
            found = json.loads(file.read_text())
            if isinstance(found, dict):
                yield found


def test_what_is_no_definition_is_rejected_and_told_why(client: Any) -> None:
    keys: list[str] = []
    for definition in definitions():
        keys.append(uuid4())
        client.submit(definition, keys[-1])
    assert keys
    assert set(client.wait(*keys).values()) == {"REJECTED"}
    errors = client.db.rows("SELECT errors FROM pipelines WHERE request_id = ANY(%s)", (keys,))
    assert all(found and all(error["message"] for error in found) for (found,) in errors)


def test_what_is_no_request_is_parked_and_the_next_goes_on(client: Any, wait_until: Any) -> None:
    files = sorted((FOLDER / "bad/json/test_parsing").iterdir())
    bodies = [file.read_bytes() for file in files]
    for body in bodies:
        client.produce(REQUESTED, "default", body)
    key = uuid4()
    client.submit({"jobs": {"next": {"executor": "noop"}}}, key)
    assert client.wait(key) == {key: "SUCCESS"}
    wait_until(lambda: set(bodies) <= set(client.raw(f"{REQUESTED}.dlq")))


def test_any_string_may_name_a_job_or_is_told_why_not(client: Any) -> None:
    names: dict[str, str] = {}
    for file in sorted((FOLDER / "bad/strings").iterdir()):
        for name in file.read_text().splitlines():
            key = uuid4()
            names[key] = name
            client.submit({"jobs": {name: {"executor": "noop"}}}, key)
    assert names
    ends = client.wait(*names)
    assert set(ends.values()) == {"SUCCESS", "REJECTED"}
    for key, name in names.items():
        if ends[key] == "SUCCESS":
            assert list(client.jobs(key)) == [name]
        else:
            assert not name or "${{" in name or not name.isprintable(), name


def test_a_log_is_what_was_printed(client: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    printed: list[bytes] = []
    for file in sorted((FOLDER / "logs").rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            printed.append(gzip.decompress(data) if file.suffix == ".gz" else data)
            (tmp_path / f"{len(printed) - 1}").write_bytes(printed[-1])
    assert printed
    key = uuid4()
    client.submit({"jobs": {str(n): {"run": f"cat '{tmp_path}/{n}'"} for n in range(len(printed))}}, key)
    assert client.wait(key) == {key: "SUCCESS"}
    for number, data in enumerate(printed):
        assert client.log(key, str(number)) == data
