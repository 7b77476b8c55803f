"""Logs: structlog on stderr, as JSON lines for machines or coloured text for people."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import orjson

from penstock.core.errors import StopProcess
from penstock.runtime.lean import without

with without("rich"):  # structlog would load it for tracebacks that are drawn; ours are plain
    import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(log_format: str, level: str, service: str, instance: str) -> None:
    """Send every log line of this process, the libraries' own included, to stderr in one form.

    `log_format` is `json` or `console`; `level` is debug, info, warning or error.

    Raises:
        StopProcess: one of the two is none of these.
    """
    if log_format not in ("json", "console"):
        raise StopProcess(f"PENSTOCK_LOG_FORMAT={log_format!r} is neither json nor console")
    if level not in _LEVELS:
        raise StopProcess(f"PENSTOCK_LOG_LEVEL={level!r} is not one of {', '.join(_LEVELS)}")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format, service, instance),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries say at INFO what only their authors want to know.
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    logging.getLogger("penstock").setLevel(_LEVELS[level])
    logging.getLogger("penstock_services").setLevel(_LEVELS[level])


def logger(name: str) -> FilteringBoundLogger:
    """A module gets its own at its top, by `__name__`, and says `log.info("what happened", field=value)`."""
    return cast(FilteringBoundLogger, structlog.stdlib.get_logger(name))


def _rendering(log_format: str, service: str, instance: str) -> list[Processor]:
    def identify(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        event["instance"] = instance
        return event

    if log_format == "json":
        return [identify, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="at")]


def _dumps(event: EventDict, **_options: Any) -> str:
    return orjson.dumps(event, default=str).decode()
