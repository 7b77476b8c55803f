"""The published schemas: fresh, of one mind with the structs, and kind to every record ever released."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator

from penstock.events import envelope, jobs, schemas, topics
from penstock.events.codec import Codec, encode

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "schemas"
EXAMPLES = sorted((FOLDER / "examples").iterdir())
REMEDY = "run: python -m penstock.events.schemas schemas/"


def contains(whole: Any, part: Any) -> bool:
    """Whether everything in `part` is in `whole`, which may have more fields."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], item) for key, item in part.items()
        )
    if isinstance(part, list):
        same = isinstance(whole, list) and len(whole) == len(part)
        return same and all(contains(one, other) for one, other in zip(whole, part, strict=True))
    return bool(whole == part)


@pytest.mark.parametrize("name", schemas.files())
def test_the_files_are_fresh(name: str) -> None:
    assert (FOLDER / name).read_bytes() == schemas.render(schemas.files()[name]), REMEDY


def test_no_file_is_left_over() -> None:
    there = {file.relative_to(FOLDER).as_posix() for file in (FOLDER / "events").iterdir()}
    assert there == {name for name in schemas.files() if name.startswith("events/")}


@pytest.mark.parametrize("record", schemas.RECORDS, ids=lambda record: record.name)
def test_each_is_a_schema_with_an_example(record: schemas.Record) -> None:
    Draft202012Validator.check_schema(schemas.schema(record))
    assert record.ce_type.startswith(schemas.TYPE_PREFIX)
    assert [file for file in EXAMPLES if schemas.record_of(file.name) == record]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_every_example_decodes_and_validates(file: Path) -> None:
    record = schemas.record_of(file.name)
    example = orjson.loads(file.read_bytes())
    Draft202012Validator(schemas.schema(record)).validate(example)
    decoded = Codec(record.kind).decode(file.read_bytes())
    # Defaults are left out when encoded, so fields with null or defaults are looked up on the struct.
    assert contains(msgspec.to_builtins(_full(decoded)), _comparable(example))
    Draft202012Validator(schemas.schema(record)).validate(orjson.loads(encode(decoded)))


def _full(value: Any) -> Any:
    """A struct as plain data with its defaults written out."""
    if isinstance(value, msgspec.Struct):
        if type(value).__struct_config__.array_like:
            return [_full(item) for item in msgspec.structs.astuple(value)]
        return {name: _full(item) for name, item in msgspec.structs.asdict(value).items()}
    if isinstance(value, list):
        return [_full(item) for item in value]
    return value


def _comparable(example: Any) -> Any:
    """Times as msgspec writes them."""
    text = orjson.dumps(example).decode()
    return orjson.loads(re.sub(r"(\d)\+00:00\"", r'\1Z"', text))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_field_of_a_later_release_is_no_fault(file: Path) -> None:
    record = schemas.record_of(file.name)
    example = {**orjson.loads(file.read_bytes()), "from_a_later_release": {"a": 1}}
    Draft202012Validator(schemas.schema(record)).validate(example)
    assert Codec(record.kind).decode(orjson.dumps(example))


def test_schemas_and_structs_refuse_the_same() -> None:
    record = schemas.ON_TOPIC[topics.JOBS_STATUS.name]
    validator = Draft202012Validator(schemas.schema(record))
    good = orjson.loads((FOLDER / "examples" / "job.status.v1.created.json").read_bytes())
    for name, value in [("state", "DONE"), ("attempt", "1"), ("terminal", None), ("name", 5), ("lane", 1)]:
        assert not validator.is_valid({**good, name: value})
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**good, name: value}, jobs.JobStatus)


def test_reasons_are_open_to_clients() -> None:
    record = schemas.ON_TOPIC[topics.JOBS_STATUS.name]
    good = orjson.loads((FOLDER / "examples" / "job.status.v1.failed.json").read_bytes())
    assert Draft202012Validator(schemas.schema(record)).is_valid({**good, "reason": "a-later-reason"})


def test_every_topic_has_a_channel_and_all_references_lead_somewhere() -> None:
    document = schemas.asyncapi()
    assert {channel["address"] for channel in document["channels"].values()} == {
        topic.name for topic in topics.TOPICS
    }
    references = re.findall(rb'"\$ref": "([^"]+)"', schemas.render(document))
    assert references
    for reference in {text.decode() for text in references}:
        if not reference.startswith("#/"):
            assert reference in schemas.files()
            continue
        found: Any = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
        assert found


def test_documented_headers_are_those_that_are_sent() -> None:
    sent = envelope.envelope("t", "i", "2025-11-24T09:30:00.000000Z", traceparent="00-1-2-01")
    assert {name for name, _ in sent} == set(schemas.HEADERS)


def test_the_command_writes_all_and_is_repeatable(tmp_path: Path) -> None:
    for _ in range(2):
        assert schemas.main([str(tmp_path)]) == 0
        for name, document in schemas.files().items():
            assert (tmp_path / name).read_bytes() == schemas.render(document)


def test_the_command_refuses_a_breaking_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(FOLDER / "events", tmp_path / "events")
    file = tmp_path / "events" / "job.status.v1.schema.json"
    released = orjson.loads(file.read_bytes())
    released["properties"]["colour"] = {"type": "string"}
    file.write_bytes(orjson.dumps(released))
    assert schemas.main([str(tmp_path)]) == 1
    assert "job.status.v1.schema.json: $.colour: the field is removed" in capsys.readouterr().err
    assert orjson.loads(file.read_bytes()) == released
    assert not (tmp_path / "asyncapi.json").exists()


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_topics_are_few_and_none_is_of_one_job() -> None:
    names = [topic.name for topic in topics.TOPICS]
    assert len(names) < 20
    assert all(re.fullmatch(r"penstock(\.[a-z]+)+", name) for name in names)
    assert topics.LOGS_FRAMES.key == "job id", "a job is a key"


def test_orders_to_a_runner_go_to_its_own_session() -> None:
    assert topics.WORKERS_CONTROL.key == topics.WORKERS_GRANTS.key == "worker session"
