"""The tables of the documentation that code knows best: `python docs/tables.py` writes them anew.

A page marks the place of a table by `<!-- table: NAME -->` and `<!-- end -->`; what stands between is
replaced. A house test fails when a page is stale.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import penstock_services
from penstock.cli import COMMANDS
from penstock.cli.exit_codes import MEANINGS
from penstock.cli.gateway import DoorSettings
from penstock.core import states
from penstock.definition import limits, shape
from penstock.events import schemas, topics
from penstock.local.settings import LocalSettings
from penstock.runtime import metrics
from penstock.runtime.settings import documented

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PLACE: Final = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

UNITS: Final = ((topics.DAY, "d"), (topics.HOUR, "h"), (topics.MINUTE, "min"))


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def settings_of_services() -> dict[str, type[Any]]:
    """The settings class of each service: the one of its module that has a field `process`."""
    found: dict[str, type[Any]] = {}
    for room in pkgutil.iter_modules(penstock_services.__path__):
        module = importlib.import_module(f"penstock_services.{room.name}.settings")
        for kind in vars(module).values():
            fields = getattr(kind, "__dataclass_fields__", {})
            if "process" in fields and kind.__module__ == module.__name__:
                found[room.name] = kind
    return found


def settings() -> str:
    """Every variable of the services, with those who read it."""
    kinds = settings_of_services()
    readers: dict[str, list[str]] = {}
    rows: dict[str, tuple[str, str]] = {}
    for service, kind in kinds.items():
        for name, _, default, about in documented(kind):
            readers.setdefault(name, []).append(service)
            rows[name] = (_default(default), about)
    return table(
        ("variable", "default", "read by", "meaning"),
        (
            (f"`{name}`", default, _all_or(readers[name], kinds), about)
            for name, (default, about) in rows.items()
        ),
    )


def local_settings() -> str:
    """Every variable of the local stack and of commands."""
    kinds = {"`up`, `fetch`, `doctor`": LocalSettings, "commands that call the gateway": DoorSettings}
    return table(
        ("variable", "default", "read by", "meaning"),
        (
            (f"`{name}`", _default(default), readers, about)
            for readers, kind in kinds.items()
            for name, _, default, about in documented(kind)
        ),
    )


def metric_names() -> str:
    """Every metric."""
    kinds = (("counter", metrics.COUNTERS), ("gauge", metrics.GAUGES), ("histogram", metrics.HISTOGRAMS))
    return table(
        ("metric", "kind", "labels", "meaning"),
        (
            (f"`{name}`", kind, ", ".join(metric.labels) or "-", metric.about)
            for kind, declared in kinds
            for name, metric in declared.items()  # type: ignore[attr-defined]
        ),
    )


def topic_names() -> str:
    """Every topic."""
    return table(
        ("topic", "key", "kept", "largest record", "dead letters", "about"),
        (
            (
                f"`{topic.name}`", topic.key, _duration(topic.retention_ms),
                f"{topic.max_bytes // 1024 // 1024} MiB", "yes" if topic.dlq else "-", topic.about,
            )
            for topic in topics.TOPICS
        ),
    )  # fmt: skip


def record_types() -> str:
    """Every type of record with its schema."""
    on: dict[str, list[str]] = {}
    for topic, record in schemas.ON_TOPIC.items():
        on.setdefault(record.name, []).append(topic.removeprefix("penstock."))
    return table(
        ("`ce_type`", "topic", "schema"),
        (
            (
                f"`{record.ce_type}`", ", ".join(on.get(record.name, ["in logs.frames"])),
                f"[{record.name}](../schemas/events/{record.name}.schema.json)",
            )
            for record in schemas.RECORDS
        ),
    )  # fmt: skip


def job_states() -> str:
    """The transitions of a job."""
    return _states(states.JOB_TRANSITIONS, states.JOB_TERMINAL, states.HELD)


def pipeline_states() -> str:
    """The transitions of a pipeline."""
    return _states(states.PIPELINE_TRANSITIONS, states.PIPELINE_TERMINAL, frozenset())


def keys(place: shape.Place) -> Callable[[], str]:
    """The keys of one part of a pipeline file."""

    def rows() -> Iterator[tuple[str, str]]:
        for key, about in place.built.items():
            yield f"`{key}`", about
        for key, meanwhile in place.later.items():
            yield f"`{key}`", f"*Not supported yet*: refused{f'; {meanwhile}' if meanwhile else ''}."

    return lambda: table(("key", "meaning"), rows())


def file_limits() -> str:
    """How large a definition may be."""
    named = {
        "a YAML file": _bytes(limits.MAX_YAML_BYTES),
        "a definition as JSON": _bytes(limits.MAX_JSON_BYTES),
        "jobs, from YAML": limits.MAX_JOBS_YAML,
        "jobs, from JSON": limits.MAX_JOBS_JSON,
        "cells of a matrix": limits.MAX_MATRIX_CELLS,
        "keys of a matrix": limits.MAX_MATRIX_KEYS,
        "all jobs with a matrix, their cells written out": _bytes(limits.MAX_EXPANDED_BYTES),
        "values of keys with expressions, written out for each cell": limits.MAX_FILLED_NODES,
        "edges, stages and matrices expanded": limits.MAX_EDGES,
        "stages": limits.MAX_STAGES,
        "steps of a job": limits.MAX_STEPS,
        "nesting": limits.MAX_DEPTH,
        "nodes of a YAML file, aliases expanded": limits.MAX_NODES,
        "nodes that aliases repeat": limits.MAX_ALIAS_NODES,
        "text that aliases repeat": _bytes(limits.MAX_ALIAS_BYTES),
        "a job's name": _bytes(limits.MAX_JOB_NAME_BYTES),
        "labels of a job": limits.MAX_LABELS,
        "locks of a job": limits.MAX_LOCKS,
        "one `env`": _bytes(limits.MAX_ENV_BYTES),
        "a duration": f"{limits.MAX_DURATION_SECONDS // 86_400} days",
        "a run of an `immediate` job": f"{limits.MAX_IMMEDIATE_SECONDS} s",
        "`retry.max`": limits.MAX_RETRIES,
    }
    rows = ((what, f"{most:,}" if isinstance(most, int) else most) for what, most in named.items())
    return table(("what", "most"), rows)


def http_calls() -> str:
    """Every call of the gateway."""
    from penstock_services.gateway.routes import ROUTES

    return table(
        ("call", "scope", "answers", "about"),
        (
            (
                f"`{route.method} {route.path}`", "-" if route.scope == "public" else route.scope,
                ", ".join(map(str, (*route.answers, *route.problems))), route.about,
            )
            for route in ROUTES
        ),
    )  # fmt: skip


def commands() -> str:
    """Every command."""
    return table(
        ("command", "does"), ((f"`penstock {name}`", about) for name, (_, about) in COMMANDS.items())
    )


def exit_codes() -> str:
    """What commands return."""
    return table(("exit code", "means"), MEANINGS.items())


TABLES: Final[dict[str, Callable[[], str]]] = {
    "settings": settings,
    "local-settings": local_settings,
    "metrics": metric_names,
    "topics": topic_names,
    "records": record_types,
    "job-states": job_states,
    "pipeline-states": pipeline_states,
    "keys-of-a-pipeline": keys(shape.PIPELINE),
    "keys-of-a-job": keys(shape.JOB),
    "keys-of-a-step": keys(shape.STEP),
    "keys-of-defaults": keys(shape.DEFAULTS),
    "keys-of-runs-on": keys(shape.RUNS_ON),
    "keys-of-timeout": keys(shape.TIMEOUT),
    "keys-of-retry": keys(shape.RETRY),
    "keys-of-resources": keys(shape.RESOURCES),
    "keys-of-locks": keys(shape.LOCK),
    "keys-of-strategy": keys(shape.STRATEGY),
    "keys-of-concurrency": keys(shape.CONCURRENCY),
    "limits": file_limits,
    "http": http_calls,
    "commands": commands,
    "exit-codes": exit_codes,
}


def filled(text: str) -> str:
    """A page with its tables as they are now. Raises `KeyError` for a table that nobody makes."""
    return PLACE.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}", text)


def main() -> int:
    """Write every page whose tables are stale."""
    for page in PAGES:
        text = page.read_text("utf-8")
        if (fresh := filled(text)) != text:
            page.write_text(fresh, "utf-8")
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")
    return 0


def _states(transitions: Any, terminal: frozenset[Any], held: frozenset[Any]) -> str:
    def what(state: str) -> str:
        return "ends it" if state in terminal else "has a lease" if state in held else "-"

    rows = (
        ("*(new)*", "-", ", ".join(sorted(following)))
        if state is None
        else (state, what(state), ", ".join(sorted(following)) or "-")
        for state, following in transitions.items()
    )
    return table(("state", "", "may become"), rows)


def _all_or(readers: list[str], kinds: Mapping[str, object]) -> str:
    return "all" if len(readers) == len(kinds) else ", ".join(readers)


def _cell(cell: object) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ")


def _default(default: object) -> str:
    if default == "required":
        return "*required*"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return f"`{default}`" if default != "" else "*empty*"


def _duration(milliseconds: int) -> str:
    for unit, name in UNITS:
        if milliseconds % unit == 0:
            return f"{milliseconds // unit} {name}"
    return f"{milliseconds} ms"


def _bytes(count: int) -> str:
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if count % unit == 0 and count >= unit:
            return f"{count // unit} {name}"
    return f"{count:,} bytes"


if __name__ == "__main__":
    sys.exit(main())
