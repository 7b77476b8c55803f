"""Every error as RFC 9457 problem+json: what is wrong, where, how to mend it. Never a traceback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from penstock.core.errors import DeadLetter, Problem, RejectInput, RetryLater, StopProcess
from penstock.runtime.log import logger

CONTENT_TYPE: Final = "application/problem+json"
KIND_PREFIX: Final = "urn:penstock:problem:"
RETRY_AFTER_SECONDS: Final = 5
QUOTA_SECONDS: Final = 30
"""After so long some jobs of a tenant may have ended."""

log = logger(__name__)


class HttpProblem(Exception):
    """An answer that is an error. `more` are members of their own beside those of RFC 9457."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {
            "type": KIND_PREFIX + kind,
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            **(more or {}),
        }
        if errors:
            self.body["errors"] = [msgspec.to_builtins(error) for error in errors]

    def response(self) -> web.Response:
        """The answer."""
        return web.Response(
            status=self.status, body=orjson.dumps(self.body), content_type=CONTENT_TYPE, headers=self.headers
        )


def absent(what: str) -> HttpProblem:
    """404: not there, or another tenant's."""
    return HttpProblem(404, "not-found", f"there is no such {what}")


def invalid(
    errors: Sequence[Problem], detail: str = "", *, more: Mapping[str, Any] | None = None
) -> HttpProblem:
    """422: what was sent is wrong and stays wrong."""
    count = len(errors)
    detail = detail or (str(errors[0]) if count == 1 else f"{count} things are wrong, see errors")
    return HttpProblem(422, "invalid", detail, errors=errors, more=more)


def too_large(what: str, limit: int) -> HttpProblem:
    """413: over a limit in bytes."""
    return HttpProblem(413, "too-large", f"{what} is larger than {limit:,} bytes")


def over_quota(errors: Sequence[Problem] = (), *, more: Mapping[str, Any] | None = None) -> HttpProblem:
    """429: the tenant has as many unfinished jobs as it may have."""
    detail = str(errors[0]) if errors else "the tenant has as many unfinished jobs as its quota lets it have"
    headers = {"Retry-After": str(QUOTA_SECONDS)}
    return HttpProblem(429, "quota-exceeded", detail, errors=errors, headers=headers, more=more)


def away(components: str) -> HttpProblem:
    """503: nothing was decided, the same call may succeed later."""
    return HttpProblem(
        503,
        "unavailable",
        f"{components or 'a server'} does not answer; nothing was done",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem."""
    try:
        return await handler(request)
    except HttpProblem as problem:
        found = problem
    except web.HTTPException as error:
        found = _of_aiohttp(error)
    except ConnectionError:
        raise  # the client went away; there is nobody to tell
    except Exception as error:  # noqa: BLE001 - the last resort of every call
        found = _of_ours(request, error)
    if request.writer.output_size and request.transport is not None:
        # Half an answer is out. The client sees the connection break, not an answer that looks whole.
        request.transport.abort()
    return found.response()


def _of_ours(request: web.Request, error: Exception) -> HttpProblem:
    """By what the caller can do."""
    if isinstance(error, RejectInput):
        return invalid(error.problems)
    if isinstance(error, RetryLater):
        log.warning("unavailable", path=request.path, component=error.component, error=str(error))
        return away(error.component)
    if isinstance(error, DeadLetter):  # Postgres refused a value
        return invalid([Problem(str(error))])
    if isinstance(error, StopProcess):
        log.error("misconfigured", path=request.path, error=str(error))
    else:
        log.error("request failed", method=request.method, path=request.path, exc_info=error)
    return HttpProblem(500, "internal", "the gateway failed; its log says why")


def _of_aiohttp(error: web.HTTPException) -> HttpProblem:
    """What the router and the parser of bodies raise."""
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    if isinstance(error, web.HTTPNotFound):
        detail = "there is nothing at this path; see /openapi.json"
    elif isinstance(error, web.HTTPMethodNotAllowed):
        detail = f"{error.method} is not allowed here; allowed: {', '.join(sorted(error.allowed_methods))}"
    else:
        detail = error.text or error.reason
    kind = error.reason.lower().replace(" ", "-")
    return HttpProblem(error.status, kind, detail, headers=kept)
