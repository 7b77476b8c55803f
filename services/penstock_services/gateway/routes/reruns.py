"""Running an ended pipeline again (protocol §6): one transaction makes the new one, before the 201."""

from __future__ import annotations

import uuid
from typing import Any, Final, NoReturn

from aiohttp import web

from penstock.core.errors import Problem, RejectInput
from penstock.core.ids import is_uuid, uuid7
from penstock.definition.digest import digest
from penstock.definition.names import CONTROL
from penstock.definition.request import MAX_REQUEST_ID_BYTES
from penstock.events.cancels import CancelRequested
from penstock.store import requests
from penstock.store.changes import Changes
from penstock.store.requests import Rerun
from penstock_services.gateway import views
from penstock_services.gateway.bodies import read_wish
from penstock_services.gateway.gateway import Gateway
from penstock_services.gateway.problems import HttpProblem, absent, over_quota
from penstock_services.gateway.publishing import post_cancels, publish_soon
from penstock_services.gateway.routing import JSON, Answer, Body, Call, Parameter, Route, reply
from penstock_services.gateway.submission import KEY_HEADER, read_key


async def rerun(gateway: Gateway, call: Call) -> web.StreamResponse:
    """POST /v1/pipelines/{id}/rerun."""
    source = call.id_of("pipeline")
    wish = _checked(await read_wish(call.request, views.RerunRequest))
    key = _key(call.request.headers.get(KEY_HEADER))
    asked = Rerun(
        tenant=call.identity.tenant,
        key=key,
        digest=digest({"rerun_of": source, "failed": wish.failed, "from": wish.from_job}).hex(),
        source=source,
        pipeline_id=uuid7(gateway.process.clock.now()),
        only_failed=wish.failed,
        from_job=wish.from_job,
    )
    changes = Changes()
    made = await gateway.pool.run(requests.rerun, changes, asked, actor=gateway.process.instance)
    if made["outcome"] not in ("new", "repeat"):
        _refuse(made, wish, key)
    if made["outcome"] == "new":
        post_cancels(gateway, _superseded(made, call.identity.token_id), gateway.process.clock.now())
        await publish_soon(gateway, changes, "rerun")
    pipeline_id: str = made["pipeline_id"]
    url = gateway.pipeline_url(pipeline_id)
    told = {
        "pipeline_id": pipeline_id,
        "request_id": key,
        "rerun_of": source,
        "state": made["state"],
        "url": url,
    }
    return reply(told, 201 if made["outcome"] == "new" else 200, {"Location": url})


def _superseded(made: dict[str, Any], by: str) -> list[tuple[str, CancelRequested]]:
    """Cancels of those that the rerun takes the place of in its concurrency group: they are kept already."""
    return [
        (
            f"{made['pipeline_id']}/{one['pipeline_id']}",
            CancelRequested(
                tenant=one["tenant"], pipeline_id=one["pipeline_id"], reason="superseded", requested_by=by
            ),
        )
        for one in made["superseded"]
    ]


def _checked(wish: views.RerunRequest) -> views.RerunRequest:
    """The wish with its id in canonical form. Raises RejectInput."""
    if wish.from_job is None:
        return wish
    if wish.failed:
        raise RejectInput(Problem("it excludes `failed`", "from", hint="give one of them, or none"))
    wish.from_job = wish.from_job.lower()
    if not is_uuid(wish.from_job):
        raise RejectInput(Problem("this is not the id of a job", "from", hint="an id of one of its jobs"))
    return wish


def _key(header: str | None) -> str:
    """The idempotency key; one that nobody else has where none is given. Raises RejectInput."""
    key = read_key(header) or str(uuid.uuid4())
    if CONTROL.search(key) or len(key.encode()) > MAX_REQUEST_ID_BYTES:
        hint = f"at most {MAX_REQUEST_ID_BYTES} bytes, no control characters"
        raise RejectInput(Problem("this cannot name a request", KEY_HEADER, hint=hint))
    return key


def _refuse(made: dict[str, Any], wish: views.RerunRequest, key: str) -> NoReturn:
    state = made.get("state")
    match made["outcome"]:
        case "absent":
            raise absent("pipeline")
        case "conflict":
            detail = f"request {key!r} asked for something else before; use a new key for a new request"
            more = {"request_id": key, "pipeline_id": made["pipeline_id"]}
            raise HttpProblem(409, "request-conflict", detail, more=more)
        case "no-such-job":
            hint = "an id as GET /v1/pipelines/{id}/jobs has it"
            raise RejectInput(Problem("the pipeline has no such job", "from", hint=hint))
        case "quota-exceeded":
            raise over_quota(more={"request_id": key})
        case "not-terminal":
            detail = f"the pipeline is {state}: only one that has ended can be run again"
            raise HttpProblem(409, "not-terminal", detail, more={"state": state})
        case _:
            why = "no job of it FAILED or was CANCELLED" if wish.failed else "it has no jobs"
            if state == "REJECTED":
                why = "it was REJECTED: send it again when it is mended"
            raise HttpProblem(
                409, "nothing-to-rerun", f"nothing can be run again: {why}", more={"state": state}
            )


ROUTES: Final = (
    Route(
        "POST",
        "/v1/pipelines/{id}/rerun",
        rerun,
        "Run an ended pipeline again as a new one, with the definition, inputs and git of the first: all of"
        " it, its `failed` jobs, or `from` a job on, and what comes after. The other jobs keep their end:"
        " reason `reused`. 409 `not-terminal`, `nothing-to-rerun`.",
        {
            200: Answer("An equal repeat: the new pipeline as it is now.", views.RerunReceipt),
            201: Answer("The new pipeline.", views.RerunReceipt),
        },
        scope="write",
        parameters=(
            Parameter(
                KEY_HEADER, "Idempotency key, at most 128 bytes: the same key is one rerun.", place="header"
            ),
        ),
        body=Body({JSON: views.RerunRequest}, required=False),
        problems=(400, 404, 409, 413, 415, 422, 429),
    ),
)
