"""JSON Schemas of all records, and an AsyncAPI document of the topics.

`python -m penstock.events.schemas DIR` makes them from the structs, for clients in other languages and for
tests; no code of ours reads them. It refuses to replace a schema by one that breaks it: that is a new version
of the record. Beside them, in `DIR/examples`, lie records of every version that was ever released, named
`TYPE.CASE.json`. Examples are added and never changed: every later release must decode them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from penstock.core.states import REASONS
from penstock.core.waiting import WAITING
from penstock.events import cancels, jobs, logs, pipelines, topics, workers
from penstock.events.compatibility import Schema, breaks

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TYPE_PREFIX: Final = "dev.penstock."
HEADERS: Final[Mapping[str, str]] = {
    "ce_specversion": "`1.0`: CloudEvents in Kafka's binary mode.",
    "ce_type": "Type and version of the record.",
    "ce_source": "`/penstock/` and the replica that wrote it.",
    "ce_id": "The same when the same fact is published again.",
    "ce_time": "When it happened, RFC 3339.",
    "content-type": "Type of the value.",
    "traceparent": "W3C trace context: a pipeline is one trace.",
}


class Record(NamedTuple):
    """A type of record: its `ce_type`, and the struct that its value is."""

    ce_type: str
    kind: type[msgspec.Struct]

    @property
    def name(self) -> str:
        """The type without its prefix: `job.status.v1`."""
        return self.ce_type.removeprefix(TYPE_PREFIX)


LINE: Final = Record(f"{TYPE_PREFIX}log.line.v1", logs.Line)
"""A line in a log frame, and at the third door; never a record of its own."""

_READY: Final = Record(jobs.READY_TYPE, jobs.ReadyHint)
ON_TOPIC: Final[Mapping[str, Record]] = {
    topics.PIPELINES_REQUESTED.name: Record(pipelines.REQUESTED_TYPE, pipelines.PipelineRequested),
    topics.CANCEL_REQUESTED.name: Record(cancels.REQUESTED_TYPE, cancels.CancelRequested),
    topics.PIPELINES_STATUS.name: Record(pipelines.STATUS_TYPE, pipelines.PipelineStatus),
    topics.JOBS_STATUS.name: Record(jobs.STATUS_TYPE, jobs.JobStatus),
    topics.JOBS_WAITING.name: Record(jobs.WAITING_TYPE, jobs.JobWaiting),
    **{topic.name: _READY for topic in topics.JOBS_READY.values()},
    topics.JOBS_REPORTS.name: Record(jobs.REPORT_TYPE, jobs.Reports),
    topics.WORKERS_HEARTBEATS.name: Record(workers.HEARTBEAT_TYPE, workers.Heartbeat),
    topics.WORKERS_OFFERS.name: Record(workers.OFFER_TYPE, workers.Offer),
    topics.WORKERS_GRANTS.name: Record(workers.GRANTS_TYPE, workers.Grants),
    topics.WORKERS_CONTROL.name: Record(workers.CONTROL_TYPE, workers.Control),
}
"""What is on each topic whose values are JSON; `logs.frames` has compressed lines instead."""
RECORDS: Final[tuple[Record, ...]] = (*dict.fromkeys(ON_TOPIC.values()), LINE)


def schema(record: Record) -> Schema:
    """The JSON Schema of a record's value."""
    (reference,), components = msgspec.json.schema_components([record.kind], ref_template="#/$defs/{name}")
    own = components.pop(reference["$ref"].removeprefix("#/$defs/"))
    shape: Schema = {
        "$schema": DIALECT,
        "$id": f"urn:penstock:schema:{record.name}",
        **_readable(own),
    }
    if components:
        shape["$defs"] = {name: _readable(components[name]) for name in sorted(components)}
    return shape


def asyncapi() -> Schema:
    """The AsyncAPI 3 document: every topic, what its records are, and which of them clients use."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Penstock",
            "version": "1",
            "license": {"name": "Apache-2.0"},
            "description": "Topics of Penstock. Clients produce to pipelines.requested and cancel.requested, "
            "and consume pipelines.status, jobs.status and jobs.waiting; all others are between its own "
            "services.",
        },
        "defaultContentType": "application/json",
        "channels": {_channel_id(topic): _channel(topic) for topic in topics.TOPICS},
        "operations": _operations(),
        "components": {
            "messages": {
                **{record.name: _message(record) for record in RECORDS if record is not LINE},
                _frame_name(): _frame_message(),
            },
            "schemas": {"headers": _header_schema(HEADERS)},
        },
    }


def files() -> dict[str, Schema]:
    """Every generated file by its path below the folder of schemas."""
    found = {f"events/{record.name}.schema.json": schema(record) for record in RECORDS}
    return {**found, "asyncapi.json": asyncapi()}


def render(document: Schema) -> bytes:
    """A file's bytes."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write(folder: Path) -> list[str]:
    """Write all files, unless one would break its predecessor. Returns what would break, else nothing."""
    generated = files()
    broken: list[str] = []
    for name, document in generated.items():
        file = folder / name
        if name.startswith("events/") and file.exists():
            broken += [f"{name}: {what}" for what in breaks(orjson.loads(file.read_bytes()), document)]
    if not broken:
        for name, document in generated.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(render(document))
    return broken


def record_of(example: str) -> Record:
    """The type of an example by its file's name, `job.status.v1.created.json`. Raises `KeyError`."""
    by_name = {record.name: record for record in RECORDS}
    return by_name[".".join(example.split(".")[:3])]


def main(arguments: list[str]) -> int:
    """Write the files into the folder that is named. Exit code 1: nothing was written, it would break."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m penstock.events.schemas DIR\n")
        return 2
    broken = write(Path(arguments[0]))
    if broken:
        hint = "a breaking change is a new version of the record, on a topic of its own"
        sys.stderr.write("\n".join([*broken, hint]) + "\n")
    return 1 if broken else 0


def _readable(shape: Any) -> Any:
    """As msgspec gives it, but descriptions without a docstring's indentation, and reasons open to more.

    Reasons are closed in our code and open to clients, who go by `terminal`.
    """
    if isinstance(shape, list):
        return [_readable(part) for part in shape]
    if not isinstance(shape, dict):
        return shape
    for reasons in (REASONS, WAITING):
        if shape.get("enum") == sorted(reasons):
            return {"type": "string", "examples": list(reasons)}
    return {
        key: inspect.cleandoc(value) if key == "description" and isinstance(value, str) else _readable(value)
        for key, value in shape.items()
    }


def _channel_id(topic: topics.Topic) -> str:
    return topic.name.removeprefix("penstock.")


def _channel(topic: topics.Topic) -> Schema:
    configuration = {
        "cleanup.policy": ["delete"],
        "retention.ms": topic.retention_ms,
        "max.message.bytes": topic.max_bytes,
    }
    channel: Schema = {
        "address": topic.name,
        "description": topic.about,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _on(topic)},
        "bindings": {"kafka": {"topicConfiguration": configuration, "bindingVersion": "0.5.0"}},
        "x-penstock-key": topic.key,
    }
    return {**channel, "x-penstock-dead-letters": topics.dlq_of(topic.name)} if topic.dlq else channel


def _on(topic: topics.Topic) -> list[str]:
    if topic is topics.LOGS_FRAMES:
        return [_frame_name()]
    return [ON_TOPIC[topic.name].name] if topic.name in ON_TOPIC else []


def _operations() -> Schema:
    """What Penstock does at the doors: it receives what clients send, and sends what they receive."""
    received = (topics.PIPELINES_REQUESTED, topics.CANCEL_REQUESTED)
    return {
        _channel_id(topic): {
            "action": "receive" if topic in received else "send",
            "channel": {"$ref": f"#/channels/{_channel_id(topic)}"},
        }
        for topic in topics.TOPICS
        if topic.kind == "public"
    }


def _message(record: Record) -> Schema:
    return {
        "name": record.ce_type,
        "title": record.kind.__name__,
        "contentType": "application/json",
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"events/{record.name}.schema.json"},
        },
    }


def _frame_name() -> str:
    return logs.FRAME_TYPE.removeprefix(TYPE_PREFIX)


def _frame_message() -> Schema:
    fields = {f"penstock-{name}": "Of the frame, as text." for name in logs.FrameHead.__struct_fields__}
    return {
        "name": logs.FRAME_TYPE,
        "title": "Log frame",
        "description": f"One zstd frame of NDJSON lines, each as in events/{LINE.name}.schema.json.",
        "contentType": "application/zstd",
        "headers": _header_schema({**HEADERS, **fields}),
    }


def _header_schema(about: Mapping[str, str]) -> Schema:
    """Writers of ours send them; a client's record may have none of them."""
    fields = {name: {"type": "string", "description": text} for name, text in about.items()}
    return {"type": "object", "properties": fields}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
