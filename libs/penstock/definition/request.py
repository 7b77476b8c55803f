"""A request for a pipeline as it comes in by either door: what is wrong with it, and when two are the same.

The gateway and intake both call `read_request`, so what one lets in the other takes, and both see the same
request under the same digest.

Two requests are the same (protocol §1) when definition, priority, git, inputs and env are. Of a definition
counts the data, not how they came: as an object, as YAML, or by reference. So YAML that was only formatted
anew, or written `3.10` for `3.1`, is the same definition.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import MAX_ID_SKEW_SECONDS, id_time, is_uuid
from penstock.core.lanes import lane_of
from penstock.definition.check import check
from penstock.definition.digest import digest
from penstock.definition.model import Plan
from penstock.definition.names import CONTROL, too_long
from penstock.definition.plan import plan
from penstock.definition.source import Source, load_json_object
from penstock.definition.yaml_source import load_yaml

MAX_REQUEST_ID_BYTES: Final = 128
MAX_REF_BYTES: Final = 1_024
"""Of git's repo, ref and branch: repo and branch are parts of index keys."""
TENANT: Final = re.compile(r"[a-z0-9-]{1,63}")

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_JSON_START: Final = re.compile(rb"[ \t\r\n]*\{")


class Reference(Protocol):
    """A definition kept in object storage."""

    @property
    def sha256(self) -> str: ...


class Requested(Protocol):
    """`penstock.events.pipelines.PipelineRequested`, seen from here; `git` is a struct or None."""

    @property
    def tenant(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    @property
    def pipeline_id(self) -> str: ...
    @property
    def definition(self) -> dict[str, Any] | None: ...
    @property
    def definition_yaml(self) -> str | None: ...
    @property
    def definition_ref(self) -> Reference | None: ...
    @property
    def priority(self) -> str | int | None: ...
    @property
    def trigger(self) -> str | None: ...
    @property
    def git(self) -> msgspec.Struct | None: ...
    @property
    def inputs(self) -> dict[str, str] | None: ...
    @property
    def env(self) -> dict[str, str] | None: ...


class RequestRead(NamedTuple):
    """A request that was read: its digest (hex) always; a plan, or else what is wrong with it."""

    digest: str
    plan: Plan | None
    problems: tuple[Problem, ...]


def read_request(requested: Requested, *, now: float, stored: bytes | None = None) -> RequestRead:
    """Check a request and its definition, all at once, and plan its jobs. Pure; raises nothing.

    `stored` is what lies in object storage under `definition_ref`; None: nothing. `now` is Unix seconds, for
    the age of a client's `pipeline_id`.
    """
    problems = _request_problems(requested, now)
    try:
        source = _load(requested, stored)
        body = _digest(requested, source.data)
    except RejectInput as error:
        return RequestRead(_digest(requested, None), None, (*problems, *error.problems))
    planned = None
    try:
        planned = plan(
            check(source),
            inputs=requested.inputs,
            env=requested.env,
            # A bad priority is among the problems already.
            request_priority=None if problems else requested.priority,
            git=_plain(requested.git),
            trigger=requested.trigger or "",
        )
    except RejectInput as error:
        problems += error.problems
    return RequestRead(body, None if problems else planned, tuple(problems))


def request_digest(
    *,
    definition: object = None,
    sha256: str = "",
    priority: str | int | None = None,
    git: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """The digest of a request as 64 hex digits.

    `definition` is its data, or its text where that cannot be read; None where only the `sha256` of a
    reference is known, which counts in its place. `git` leaves out what is empty.

    Raises:
        RejectInput: a part of it is not JSON.
    """
    asked_for = {
        "definition": sha256 if definition is None else digest(definition).hex(),
        "priority": priority,
        "git": git or {},
        "inputs": inputs or {},
        "env": env or {},
    }
    return digest(asked_for).hex()


def load_stored(data: bytes) -> Source:
    """Read a definition that is kept in object storage: JSON when it is a JSON object, otherwise YAML.

    Raises:
        RejectInput: it is neither.
    """
    if _JSON_START.match(data):
        try:
            return load_json_object(msgspec.json.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # YAML's own braces, or broken: YAML can tell where
    return load_yaml(data)


def _load(requested: Requested, stored: bytes | None) -> Source:
    """The definition of a request. Raises RejectInput when there is not exactly one, or it cannot be read."""
    given = {
        name: value
        for name in ("definition", "definition_yaml", "definition_ref")
        if (value := getattr(requested, name)) is not None
    }
    if len(given) != 1:
        message = f"{' and '.join(given)} exclude each other" if given else "there is no definition"
        hint = "give exactly one of definition, definition_yaml and definition_ref"
        raise RejectInput(Problem(message, "definition", hint=hint))
    if requested.definition is not None:
        return load_json_object(requested.definition)
    if requested.definition_yaml is not None:
        return load_yaml(requested.definition_yaml)
    assert requested.definition_ref is not None
    return _load_reference(requested.definition_ref.sha256, stored)


def _load_reference(reference: str, stored: bytes | None) -> Source:
    where = "definition_ref.sha256"
    if not _SHA256.fullmatch(reference):
        raise RejectInput(Problem("this is not a SHA-256 in lower-case hex", where, hint="64 of 0-9 and a-f"))
    if stored is None:
        hint = "POST it to /v1/definitions first, with a token of the same tenant"
        raise RejectInput(Problem(f"there is no definition {reference}", where, hint=hint))
    if hashlib.sha256(stored).hexdigest() != reference:
        raise RejectInput(Problem("what is stored under this digest has another one", where))
    return load_stored(stored)


def _request_problems(requested: Requested, now: float) -> list[Problem]:
    """What is wrong with a request but for its definition, inputs and env."""
    problems: list[Problem] = []
    if not TENANT.fullmatch(requested.tenant):
        problems.append(Problem("this is not a tenant's name", "tenant", hint="1 to 63 of a-z, 0-9 and -"))
    if not requested.request_id:
        problems.append(Problem("it is missing", "request_id", hint="any text that names this request alone"))
    elif CONTROL.search(requested.request_id) or too_long(requested.request_id, MAX_REQUEST_ID_BYTES):
        hint = f"at most {MAX_REQUEST_ID_BYTES} bytes, no control characters"
        problems.append(Problem("this cannot name a request", "request_id", hint=hint))
    if requested.pipeline_id:
        problems += _id_problems(requested.pipeline_id, now)
    if requested.priority is not None:
        try:
            lane_of(requested.priority)
        except ValueError as error:
            problems.append(Problem(str(error), "priority"))
    problems += _git_problems(_plain(requested.git))
    return problems


def _id_problems(pipeline_id: str, now: float) -> list[Problem]:
    where = "pipeline_id"
    try:
        skew = id_time(pipeline_id) - now if is_uuid(pipeline_id) else None
    except ValueError:
        skew = None
    if skew is None:
        hint = "36 lower-case characters, version 7; leave it out to have one made"
        return [Problem("this is not a UUIDv7", where, hint=hint)]
    if abs(skew) > MAX_ID_SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        hint = "make a new one, and check the clock of the machine that makes it"
        return [Problem(f"its time is {abs(skew) / 86_400:.1f} days {way} ours", where, hint=hint)]
    return []


def _git_problems(git: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    if git.get("sha") and not _COMMIT.fullmatch(git["sha"]):
        hint = "the full commit id: 40 or 64 of 0-9 and a-f"
        problems.append(Problem("this is not a commit id", "git.sha", hint=hint))
    for name, text in git.items():
        if "\0" in text:
            problems.append(Problem("U+0000 is not allowed in text", f"git.{name}"))
        if name not in ("message", "author") and too_long(text, MAX_REF_BYTES):
            problems.append(Problem(f"longer than {MAX_REF_BYTES:,} bytes", f"git.{name}"))
    return problems


def _plain(git: msgspec.Struct | None) -> dict[str, Any]:
    plain: dict[str, Any] = {} if git is None else msgspec.to_builtins(git)
    return plain


def _digest(requested: Requested, data: object) -> str:
    """The digest of a request; `data` is what its definition holds, None when it cannot be read."""
    if data is None:
        data = requested.definition_yaml
    return request_digest(
        definition=data,
        sha256=requested.definition_ref.sha256 if requested.definition_ref else "",
        priority=requested.priority,
        git=_plain(requested.git),
        inputs=requested.inputs,
        env=requested.env,
    )
