"""A request is read the same way at both doors, and equal requests have equal digests."""

import hashlib
import json

import msgspec
import pytest

from penstock.core.ids import uuid7
from penstock.definition.request import load_stored, read_request, request_digest
from penstock.events.pipelines import DefinitionRef, Git, PipelineRequested

NOW = 1_790_000_000.0
DEFINITION = {"name": "hello", "jobs": {"a": {"run": "true"}, "b": {"run": "true", "needs": ["a"]}}}


def requested(**fields: object) -> PipelineRequested:
    given = {"tenant": "acme", "request_id": "r1", "definition": DEFINITION, **fields}
    return PipelineRequested(**given)  # type: ignore[arg-type]


def problems(**fields: object) -> dict[str, str]:
    return {problem.path: problem.message for problem in read_request(requested(**fields), now=NOW).problems}


def test_a_good_request_is_planned() -> None:
    read = read_request(requested(priority=9, inputs={"who": "me"}), now=NOW)
    assert read.problems == ()
    assert read.plan is not None
    assert [job.name for job in read.plan.jobs] == ["a", "b"]
    assert [job.lane for job in read.plan.jobs] == ["critical", "critical"]
    assert read.plan.edges == [(0, 1)]


def test_everything_wrong_is_told_at_once() -> None:
    found = problems(
        tenant="No!",
        request_id="x" * 129,
        pipeline_id="nonsense",
        priority=11,
        git=Git(sha="abc", branch="b" * 1_025, message="a\0b"),
        definition={"jobs": {"a": {"runn": "true"}}},
    )
    assert {"tenant", "request_id", "pipeline_id", "priority", "git.sha", "git.branch", "git.message"} < set(
        found
    )
    assert "jobs.a.runn" in found


@pytest.mark.parametrize("key", ["", "a\nb", "\0", "ü" * 65])
def test_keys_that_name_nothing(key: str) -> None:
    assert "request_id" in problems(request_id=key)


def test_definitions_exclude_each_other() -> None:
    assert "exclude each other" in problems(definition_yaml="jobs: {}")["definition"]
    assert problems(definition=None) == {"definition": "there is no definition"}


@pytest.mark.parametrize(
    ("days", "good"), [(0, True), (0.99, True), (-0.99, True), (1.01, False), (-1.01, False), (-9_000, False)]
)
def test_a_clients_id_must_be_of_today(days: float, good: bool) -> None:
    found = problems(pipeline_id=uuid7(NOW + days * 86_400))
    assert ("pipeline_id" not in found) is good


@pytest.mark.parametrize("odd", ["0190F5B6-1111-7000-8000-000000000000", "0" * 32, uuid7(NOW)[:-1], "{}"])
def test_ids_are_written_in_one_way(odd: str) -> None:
    assert "pipeline_id" in problems(pipeline_id=odd)


def test_a_reference_must_lead_to_what_it_names() -> None:
    data = json.dumps(DEFINITION).encode()
    right = hashlib.sha256(data).hexdigest()
    by_reference = requested(definition=None, definition_ref=DefinitionRef(right))
    assert read_request(by_reference, now=NOW, stored=data).problems == ()
    assert "no definition" in str(read_request(by_reference, now=NOW).problems[0])
    assert "another" in str(read_request(by_reference, now=NOW, stored=data + b" ").problems[0])
    short = requested(definition=None, definition_ref=DefinitionRef("../other"))
    assert "not a SHA-256" in str(read_request(short, now=NOW, stored=data).problems[0])


def test_the_same_definition_has_the_same_digest_however_it_came() -> None:
    yaml = "name: hello\njobs:\n  b: {needs: [a], run: 'true'}\n  a:\n    run: \"true\"  # first\n"
    data = json.dumps(DEFINITION).encode()
    reference = DefinitionRef(hashlib.sha256(data).hexdigest())
    digests = {
        read_request(requested(), now=NOW).digest,
        read_request(requested(definition=None, definition_yaml=yaml), now=NOW).digest,
        read_request(requested(definition=None, definition_ref=reference), now=NOW, stored=data).digest,
        request_digest(definition=DEFINITION),
    }
    assert len(digests) == 1


def test_a_record_reads_as_the_request_that_made_it() -> None:
    asked = requested(git=Git(repo="https://x", sha="a" * 40), env={"A": "1"}, inputs={}, priority="high")
    again = msgspec.json.decode(msgspec.json.encode(asked), type=PipelineRequested)
    assert read_request(again, now=NOW).digest == read_request(asked, now=NOW).digest


@pytest.mark.parametrize(
    "other",
    [
        {"definition": {"jobs": {"a": {"run": "false"}}}},
        {"priority": "high"},
        {"git": Git(branch="main")},
        {"inputs": {"a": "b"}},
        {"env": {"A": "b"}},
    ],
)
def test_other_bodies_have_other_digests(other: dict[str, object]) -> None:
    assert read_request(requested(**other), now=NOW).digest != read_request(requested(), now=NOW).digest


def test_what_names_a_request_is_not_part_of_its_digest() -> None:
    named = requested(request_id="r2", pipeline_id=uuid7(NOW), trigger="manual")
    assert read_request(named, now=NOW).digest == read_request(requested(), now=NOW).digest


@pytest.mark.parametrize(
    "broken",
    [
        {"definition_yaml": "jobs: ["},
        {"definition_yaml": 'jobs: {"a": {run: "\\ud800"}}'},
        {"definition": {"jobs": {"a": {"run": 10**30}}}},
        {"definition_ref": DefinitionRef("f" * 64)},
    ],
)
def test_what_cannot_be_read_has_a_digest_too(broken: dict[str, object]) -> None:
    read = read_request(requested(**{"definition": None, **broken}), now=NOW)
    assert read.problems
    assert read.plan is None
    assert len(read.digest) == 64


def test_stored_definitions_are_json_or_yaml() -> None:
    assert load_stored(b'{"jobs": {}}').data == {"jobs": {}}
    assert load_stored(b"{jobs: {}}").data == {"jobs": {}}
    assert load_stored(b"jobs: {}").data == {"jobs": {}}
